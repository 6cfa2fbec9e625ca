from ipaddress import IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.hosts import bracket


@pytest.mark.parametrize(
    ("host", "bracketed"),
    [
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
        ("[::1]", "[::1]"),
        ("10.0.0.1", "10.0.0.1"),
        ("node-1.example", "node-1.example"),
        ("", ""),
    ],
)
def test_only_an_ipv6_address_is_put_into_brackets(host: str, bracketed: str) -> None:
    assert bracket(host) == bracketed


@given(address=st.ip_addresses(v=6))
def test_any_ipv6_address_is_the_host_of_a_url_once_bracketed(address: IPv6Address) -> None:
    parts = urlsplit(f"https://{bracket(str(address))}:10250")

    assert (parts.hostname, parts.port) == (str(address), 10250)
