"""Access to the cluster; the only package that imports `kubernetes`."""
