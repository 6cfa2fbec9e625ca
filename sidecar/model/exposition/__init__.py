"""The exposition formats: read, remembered from scrape to scrape, merged and written."""
