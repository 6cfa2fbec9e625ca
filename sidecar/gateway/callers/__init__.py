"""Who asks the gateway: one module for each kind of credentials."""
