"""What runs all the time: the policy hub and certificate rotation."""
