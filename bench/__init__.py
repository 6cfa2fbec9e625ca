"""Benchmarks, one file per claim; each reports its figure, its bar and a comparison."""
