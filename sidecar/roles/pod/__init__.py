"""Role `pod`: a proxy beside one workload."""
