"""The policy of each role: a function of the present objects, scoped to what the proxy may know."""
