"""Reads the cluster's state from a folder of manifests, to run the injector without a cluster."""
