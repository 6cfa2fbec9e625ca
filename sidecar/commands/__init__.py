"""Commands of `livery-proxy` other than serving."""
