"""MetricAccess objects: read, judged against the platform's grants, and their status."""
