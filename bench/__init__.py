"""Benchmarks: one file a claim; each prints its figure, its bar, and what it was compared with."""
