"""Kubernetes objects, and the known state of the cluster."""
