"""The status page: a live view of what Livery does."""
