"""The cluster's state from a folder of manifests: the injector without a cluster."""
