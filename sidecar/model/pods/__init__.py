"""Pods: lists of pods, their scrape targets, and the labels that their series get."""
