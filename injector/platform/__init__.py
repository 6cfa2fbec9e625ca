"""The platform's settings: the chart's values that concern pods and policies."""
