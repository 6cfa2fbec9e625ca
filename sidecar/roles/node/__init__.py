"""Role `node`: a proxy in front of kubelets."""
