import ipaddress

import pytest

from sidecar.errors import UpstreamError
from sidecar.forward.addresses import Reach, connect
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio

_LOOPBACK = ["::1", "127.0.0.1"]
_URL = Reach(is_service=False, forbidden=frozenset([ipaddress.ip_address("34.1.2.3")]))
_CONTROL_PLANE = frozenset(map(ipaddress.ip_address, ["10.96.0.1", "fd00:96::1"]))
_SERVICE = Reach(is_service=True, forbidden=_CONTROL_PLANE)


@pytest.mark.parametrize(
    ("address", "url", "service"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("10.0.0.7", False, True),
        ("192.168.1.1", False, True),
        ("fd00::7", False, True),
        ("10.96.0.1", False, False),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("::ffff:127.0.0.1", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("::ffff:10.0.0.7", False, True),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:7f00:1::", False, False),
        ("34.1.2.3", False, True),
        ("168.63.129.16", False, False),
        ("0.1.2.3", False, False),
        ("192.0.0.8", False, False),
        ("240.0.0.1", False, False),
        ("fec0::1", False, False),
        ("64:ff9b:1::a00:1", False, False),
        ("::10.0.0.7", False, False),
        ("::ffff:0:a00:7", False, False),
        ("192.88.99.1", False, False),
        ("3fff::1", False, False),
        ("5f00::1", False, False),
        ("fd00:96:0:0::1", False, False),
        ("fd00:ec2::254", False, False),
        ("fd20:ce::254", False, False),
        ("100.100.100.200", False, False),
        ("100.100.100.201", False, True),
    ],
)
def test_a_tenant_s_url_leads_nowhere_inside(address: str, url: bool, service: bool) -> None:
    parsed = ipaddress.ip_address(address)

    assert _URL.allows(parsed) is url
    assert _SERVICE.allows(parsed) is service


def test_the_platform_may_allow_more() -> None:
    reach = _URL._replace(allowed=(ipaddress.ip_network("10.1.0.0/16"),))

    assert reach.allows(ipaddress.ip_address("10.1.2.3"))
    assert reach.allows(ipaddress.ip_address("::ffff:10.1.2.3"))
    assert not reach.allows(ipaddress.ip_address("10.2.2.3"))


async def test_what_a_name_leads_to_is_judged() -> None:
    async with App(http(b"ok")) as app:
        reason = r"localhost: .*127\.0\.0\.1 is not allowed as a receiver's address"
        with pytest.raises(UpstreamError, match=reason):
            await connect("localhost", _LOOPBACK, app.port, _SERVICE)
        allowed = _URL._replace(allowed=(ipaddress.ip_network("127.0.0.0/8"),))
        (await connect("localhost", _LOOPBACK, app.port, allowed)).close()
        assert app.connections == 1


async def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(UpstreamError, match="the name has no address"):
        await connect("shop.test", [], 80, _URL)
