"""What the control service sends to a proxy."""
