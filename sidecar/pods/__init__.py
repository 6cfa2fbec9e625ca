"""The pods of a cluster without a control plane: listed and watched at its API server."""
