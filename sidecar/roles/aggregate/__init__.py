"""Role `aggregate`: one endpoint for many pods."""
