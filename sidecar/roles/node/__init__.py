"""Role `node`: in front of the kubelets."""
