"""`livery demo`: the main job on one machine, without a cluster."""
