"""From targets to one answer: fetched, read, merged, shared among equal scrapes."""
