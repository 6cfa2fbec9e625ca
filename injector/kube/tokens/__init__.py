"""Tokens, judged by the API server."""
