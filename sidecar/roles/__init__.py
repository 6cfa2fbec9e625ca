"""The proxy's roles, each a small module that composes the cores and edges."""
