"""Whose token a client's is, and what that user may do."""
