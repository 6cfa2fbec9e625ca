import errno
import socket

import pytest

from sidecar.http.system_errors import ConnectError, describe, join_failures


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"),
         "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] x"),
         "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (TimeoutError(), "timed out"),
        (ConnectionResetError(), "connection reset by peer"),
        (ValueError("encoding with 'idna' codec failed"), "encoding with 'idna' codec failed"),
    ],
)  # fmt: skip
def test_an_error_is_a_clause_without_its_number(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_equal_reasons_are_given_once_with_every_address() -> None:
    failures = [
        ConnectError("127.0.0.1", 80, "connection refused"),
        ConnectError("::1", 80, "connection refused"),
        ConnectError("10.0.0.7", 80, "no route to host"),
    ]

    assert join_failures(failures) == (
        "connection refused on port 80 (127.0.0.1, ::1); no route to host on port 80 (10.0.0.7)"
    )
