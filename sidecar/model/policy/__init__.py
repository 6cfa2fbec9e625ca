"""Policies: what the control service sends to a proxy."""
