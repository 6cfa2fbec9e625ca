"""The world from a folder of manifests: the injector without a cluster."""
