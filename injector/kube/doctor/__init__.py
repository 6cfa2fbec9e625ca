"""`livery doctor`: diagnoses an installation and prints the fix for each problem."""
