"""The exposition formats: read, cached from scrape to scrape, merged and written."""
