"""Tenants' access rules: which series they let through."""
