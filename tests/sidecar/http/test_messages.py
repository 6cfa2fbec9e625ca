from collections.abc import AsyncGenerator

import pytest

from sidecar.errors import LimitError, LiveryError, PodsError, UpstreamError, UpstreamTimeoutError
from sidecar.http import messages
from sidecar.http.messages import (
    Delivery,
    Response,
    failed,
    gather,
    plain,
    read_request,
    render_head,
)

pytestmark = pytest.mark.anyio


async def _parts(*sizes: int) -> AsyncGenerator[bytes, None]:
    for size in sizes:
        yield b"x" * size


def test_a_plain_answer_is_one_line() -> None:
    assert plain(503, "no policy yet").body == b"no policy yet\n"


def test_a_sentence_with_a_lone_surrogate_is_still_sent() -> None:
    assert plain(502, "half \ud800").body == b"half ?\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UpstreamTimeoutError("late"), 504),
        (UpstreamError("late"), 502),
        (LimitError("late"), 502),
        (PodsError("late"), 502),
    ],
)
def test_an_error_upstream_is_a_gateway_error(error: LiveryError, status: int) -> None:
    assert failed(error)[:2] == (status, b"late\n")


async def test_parts_are_gathered_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_GATHERED_BYTES", 1 << 20)

    assert len(await gather(_parts(1 << 19, 0, 1 << 19))) == 1 << 20
    with pytest.raises(LimitError, match=r"a response of over 1 MiB needs HTTP/1\.1"):
        await gather(_parts(1 << 20, 1))


async def test_nothing_is_read_past_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_GATHERED_BYTES", 10)
    parts = _parts(6, 6, 1, 1)

    with pytest.raises(LimitError):
        await gather(parts)
    assert [part async for part in parts] == [b"x", b"x"]


def test_a_head_states_status_type_and_length() -> None:
    head = render_head(Response(404, b"none\n", "text/html"), Delivery.CHUNKED, keep_alive=True)

    assert head == b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n"


def test_a_head_lists_further_headers_and_says_that_the_connection_ends() -> None:
    response = Response(200, b"", headers=(("Vary", "Accept"), ("X-Name", "é")))

    lines = render_head(response, Delivery.HEAD, keep_alive=False).split(b"\r\n")

    assert lines[-5:] == [b"Vary: Accept", b"X-Name: \xe9", b"Connection: close", b"", b""]


def test_the_head_of_an_answer_in_parts_states_no_length() -> None:
    head = render_head(Response(200, b"", parts=_parts()), Delivery.CHUNKED, keep_alive=True)

    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert b"Content-Length" not in head


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/metrics", "/metrics", ""),
        (b"/metrics?a=b?c", "/metrics", "a=b?c"),
        (b"http://x/metrics", "/metrics", ""),
        (b"http://x:80/metrics?a=b", "/metrics", "a=b"),
        (b"http://x", "/", ""),
        (b"/a?u=http://x/y", "/a", "u=http://x/y"),
        (b"*", "*", ""),
    ],
)
def test_a_request_may_name_the_server_beside_the_path(
    target: bytes, path: str, query: str
) -> None:
    request = read_request("GET", target, {}, "1.2.3.4")

    assert (request.path, request.query, request.peer) == (path, query, "1.2.3.4")


def test_head_is_shown_to_handlers_as_get() -> None:
    assert read_request("HEAD", b"/", {}, "").method == "GET"


@pytest.mark.parametrize(
    ("method", "version", "delivery"),
    [
        ("GET", "1.1", Delivery.CHUNKED), ("GET", "1.0", Delivery.WHOLE),
        ("HEAD", "1.1", Delivery.HEAD), ("HEAD", "1.0", Delivery.HEAD),
    ],
)  # fmt: skip
def test_method_and_version_decide_how_a_response_is_delivered(
    method: str, version: str, delivery: Delivery
) -> None:
    assert Delivery.of(method, version) is delivery
