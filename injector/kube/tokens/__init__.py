"""Token reviews by the API server."""
