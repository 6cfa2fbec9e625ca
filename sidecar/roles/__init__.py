"""The proxy's roles. Each is a small package that composes the rest of the proxy."""
