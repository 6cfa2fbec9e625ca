"""The CA in the cluster: kept in a Secret, published where others read it."""
