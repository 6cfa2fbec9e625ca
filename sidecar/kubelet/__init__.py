"""The kubelet's metrics, labelled while they arrive; its pods, as targets."""
