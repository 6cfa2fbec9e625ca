"""Policies from the control service's stream or from a file, and reports to the service."""
