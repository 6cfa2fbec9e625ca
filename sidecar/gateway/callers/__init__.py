"""Authentication of the gateway's callers: one module for each kind of credentials."""
