"""Admission: from a review to a decision, a patch and an answer."""
