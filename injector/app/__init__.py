"""The injector put together."""
