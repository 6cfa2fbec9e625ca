"""The cluster: the only home of the `kubernetes` package."""
