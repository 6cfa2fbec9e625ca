"""MetricAccess objects: parsing, evaluation against the platform's grants, and status."""
