import pytest

from sidecar.gateway.callers.networks import network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [("10.0.0.1", "10.0.0.1"), ("fd00::1:2", "fd00::/64"), ("fe80::1%eth0", "fe80::/64"), ("", "")],
)
def test_addresses_of_one_client_are_one_network(peer: str, network: str) -> None:
    assert network_of(peer) == network
