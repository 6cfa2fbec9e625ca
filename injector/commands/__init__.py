"""One file a command of `livery`. Only here may more of `sidecar` be used than its model."""
