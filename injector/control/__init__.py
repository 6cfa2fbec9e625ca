"""Long-running state: the policy hub, known proxies and recent reviews."""
