"""Admission: from a review to a decision, a patch and a response."""
