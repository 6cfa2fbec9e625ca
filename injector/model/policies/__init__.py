"""The policy of each role: a function of the current objects, limited to the proxy's scope."""
