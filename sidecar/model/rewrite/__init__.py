"""What becomes of one series under a policy."""
