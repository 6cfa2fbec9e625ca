"""A kubelet's pods, asked for as Alloy's `discovery.kubelet` does. The only home of httpx."""
