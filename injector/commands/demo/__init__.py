"""`livery demo`: Livery on one machine, without a cluster."""
