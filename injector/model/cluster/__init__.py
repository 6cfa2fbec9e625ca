"""Kubernetes objects, and what is known of the cluster."""
