"""Many pods scraped at once, and their metrics as one exposition."""
