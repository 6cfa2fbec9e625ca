"""Scrapes targets: fetches, parses and merges, and shares the result among equal scrapes."""
