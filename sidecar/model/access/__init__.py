"""Tenants' access rules: which series they allow."""
