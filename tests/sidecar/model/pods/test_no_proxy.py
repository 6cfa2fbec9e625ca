import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.pods.no_proxy import bypasses_proxy


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "is_direct"),
    [
        ("example.com", 443, "", False),
        ("localhost", 443, "", True),
        ("127.0.0.2", 443, "", True),
        ("::1", 443, "", True),
        ("example.com", 443, "*", True),
        ("example.com", 443, "example.com", True),
        ("a.example.com", 443, "example.com", True),
        ("badexample.com", 443, "example.com", False),
        ("example.com", 443, ".example.com", False),
        ("a.example.com", 443, ".example.com", True),
        ("a.example.com", 443, "*.example.com", True),
        ("EXAMPLE.com.", 443, "example.COM", True),
        ("example.com", 443, "other, example.com:443", True),
        ("example.com", 80, "example.com:443", False),
        ("10.1.2.3", 443, "10.0.0.0/8", True),
        ("11.1.2.3", 443, "10.0.0.0/8", False),
        ("example.com", 443, "10.0.0.0/8", False),
        ("10.1.2.3", 443, "10.1.2.3", True),
        ("10.1.2.3", 80, "10.1.2.3:443", False),
        ("fd00::7", 443, "fd00::/8", True),
        ("fd00::7", 443, "FD00:0::7", True),
        ("fd00::7", 443, "[fd00::7]:443", True),
        ("fd00::7", 80, "[fd00::7]:443", False),
        ("10.1.2.3", 443, "nonsense/99,,:,[", False),
    ],
)
def test_hosts_go_direct_as_go_s_programs_read_it(
    host: str, port: int, no_proxy: str, is_direct: bool
) -> None:
    assert bypasses_proxy(host, port, no_proxy) is is_direct


@given(host=st.text(min_size=1), no_proxy=st.text())
def test_no_text_is_too_strange(host: str, no_proxy: str) -> None:
    assert bypasses_proxy(host, 443, f"{no_proxy},*") is True
    bypasses_proxy(host, 443, no_proxy)
