"""The platform's settings: the chart's values for pods and policies."""
