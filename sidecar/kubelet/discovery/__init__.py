"""Discovery of pods as Prometheus targets. Loads httpx, 10 MB; imported on first use."""
