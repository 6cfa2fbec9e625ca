"""The tests' resolver, which looks names up as the proxy does."""

from sidecar.forward.resolver import Resolver, look_up

RESOLVER = Resolver(look_up)
