"""Labels of namespaces, and Prometheus relabel rules."""
