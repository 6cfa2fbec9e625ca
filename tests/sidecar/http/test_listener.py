import socket

import pytest

from sidecar.http.listener import open_socket


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_answers_do_not_wait_for_delayed_acknowledgements(host: str) -> None:
    with (
        open_socket(host, 0) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
