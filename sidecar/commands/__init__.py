"""What `livery-proxy` does besides serving."""
