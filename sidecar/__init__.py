"""The data plane: one image, one process beside each workload. Never imports `injector`."""

VERSION = "0.1.0"
