"""How the tests find addresses: as the proxy does."""

from sidecar.forward.resolver import Resolver, look_up

RESOLVER = Resolver(look_up)
