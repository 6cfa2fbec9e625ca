"""A node's pods: the kubelet's list, and what is made of it."""
