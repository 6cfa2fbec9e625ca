"""The commands of `livery`. Unlike the rest of the injector, they may import all of `sidecar`."""
