"""PromQL: parser, printer, and rewriting of queries to a tenant's series."""
