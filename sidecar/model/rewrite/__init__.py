"""Rewriting of series under a policy."""
