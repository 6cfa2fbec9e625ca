"""The control plane: admission webhook, control service, status, and the `livery` command."""
