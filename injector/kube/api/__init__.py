"""The API server: client, lists and watches, leases."""
