"""Kubelet metrics, labelled while they stream; kubelet pods, served as targets."""
