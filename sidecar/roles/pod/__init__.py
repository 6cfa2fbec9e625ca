"""Role `pod`: beside one workload."""
