"""The status page: what Livery does, while it does it."""
