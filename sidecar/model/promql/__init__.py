"""PromQL: series selectors."""
