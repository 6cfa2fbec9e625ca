"""A server's TLS context whose certificate changes while it serves."""

import contextlib
import ssl
from datetime import UTC, datetime

import pytest
from webhook_certs.authority import Leaf, create_authority, issue_leaf
from webhook_certs.errors import CertificateError
from webhook_certs.tls import check_leaf, create_server_context, use_leaf

NOW = datetime.now(UTC)
AUTHORITY = create_authority("test", NOW)
FIRST, SECOND = (issue_leaf(AUTHORITY, ["a.example"], NOW) for _ in range(2))


class _Connection:
    """Both ends of a connection, in memory."""

    def __init__(self, server: ssl.SSLContext, newest: ssl.TLSVersion | None = None) -> None:
        client = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
        if newest is not None:
            client.minimum_version, client.maximum_version = newest, newest
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(down, up, server_hostname="a.example")
        self.server = server.wrap_bio(up, down, server_side=True)

    def go_on(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            for side in (self.client, self.server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()

    def shown(self) -> str:
        """Return the certificate that the client received."""
        return ssl.DER_cert_to_PEM_cert(self.client.getpeercert(binary_form=True) or b"")


def _served(context: ssl.SSLContext) -> str:
    connection = _Connection(context)
    connection.go_on()
    return connection.shown()


def test_the_next_handshake_shows_the_new_leaf_and_one_under_way_ends_with_the_old() -> None:
    context = create_server_context(FIRST)
    begun = _Connection(context)
    begun.go_on(rounds=1)
    use_leaf(context, SECOND)
    begun.go_on()

    assert begun.shown() == FIRST.chain_pem
    assert _served(context) == SECOND.chain_pem


@pytest.mark.parametrize(
    "leaf",
    [
        FIRST._replace(key_pem=SECOND.key_pem),
        FIRST._replace(key_pem=""),
        FIRST._replace(chain_pem=""),
        FIRST._replace(chain_pem="nonsense", key_pem="nonsense"),
    ],
    ids=["other-key", "no-key", "no-certificate", "nonsense"],
)
def test_a_leaf_that_cannot_be_served_takes_no_ones_place(leaf: Leaf) -> None:
    context = create_server_context(SECOND)
    with pytest.raises(CertificateError, match="cannot be used"):
        use_leaf(context, leaf)
    with pytest.raises(CertificateError, match="cannot be used"):
        check_leaf(leaf)

    assert _served(context) == SECOND.chain_pem


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_this_decade_is_spoken(version: ssl.TLSVersion) -> None:
    connection = _Connection(create_server_context(FIRST), version)
    connection.go_on()

    assert connection.client.version() == version.name.replace("_", ".")


def test_nothing_older_is_offered() -> None:
    assert create_server_context(FIRST).minimum_version is ssl.TLSVersion.TLSv1_2
