"""The exposition formats: parsing, caching between scrapes, merging and writing."""
