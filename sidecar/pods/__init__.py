"""Pods without a control plane: listed and watched directly at the cluster's API server."""
