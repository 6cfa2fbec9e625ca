"""Scrapes many pods at once and renders their metrics as one exposition."""
