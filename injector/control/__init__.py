"""What runs all the time: the policy hub, and what is known of proxies and reviews."""
