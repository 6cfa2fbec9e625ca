"""The ASGI apps: they decode, call the model or the hub, and encode."""
