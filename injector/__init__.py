"""The control plane: admission webhook, control service, status page and the `livery` command."""
