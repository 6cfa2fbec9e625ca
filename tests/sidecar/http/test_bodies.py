import contextlib
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UpstreamError
from sidecar.http.bodies import Body
from sidecar.http.head import Framing, Head

_CHUNKED = Head(200, {}, Framing.CHUNKED, 0, keeps_alive=True)


def _body(framing: Framing, length: int = 0) -> Body:
    return Body(Head(200, {}, framing, length, keeps_alive=True))


def _chunks(data: bytes, size: int) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@given(data=st.binary(max_size=500), size=st.integers(1, 60), cut=st.integers(1, 60))
def test_a_chunked_body_may_arrive_in_any_pieces(data: bytes, size: int, cut: int) -> None:
    raw = _chunks(data, size)
    body = _body(Framing.CHUNKED)
    for start in range(0, len(raw), cut):
        assert not body.is_whole
        body.feed(raw[start : start + cut])

    assert body.is_whole
    assert b"".join(body.parts) == data


def test_a_body_of_known_length_ends_there_and_more_is_surplus() -> None:
    body = _body(Framing.LENGTH, 4)
    body.feed(b"a ")
    assert not body.is_whole
    body.feed(b"1\nmore")

    assert (b"".join(body.parts), body.is_whole, body.has_surplus) == (b"a 1\n", True, True)


@pytest.mark.parametrize(("is_clean", "is_whole"), [(True, True), (False, False)])
def test_a_body_without_length_is_whole_if_the_connection_ends_cleanly(
    is_clean: bool, is_whole: bool
) -> None:
    body = _body(Framing.CLOSE)
    body.feed(b"a 1\n")
    body.close(is_clean=is_clean)

    assert body.is_whole is is_whole


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
def test_a_clean_end_does_not_make_any_other_body_whole(framing: Framing) -> None:
    body = _body(framing, 9)
    body.feed(b"4\r\na")
    body.close(is_clean=True)

    assert not body.is_whole


def test_damaged_chunks_are_named() -> None:
    with pytest.raises(UpstreamError, match="the response's chunks are invalid: "):
        _body(Framing.CHUNKED).feed(b"hello\r\n")


@pytest.mark.parametrize("raw", [_chunks(b"a 1\n", 4), b"4\r\na", b"hello\r\n"])
def test_no_parser_outlives_its_body(raw: bytes) -> None:
    gc.disable()
    try:
        body = _body(Framing.CHUNKED)
        with contextlib.suppress(UpstreamError):
            body.feed(raw)
        body.close(is_clean=False)
        gone = weakref.ref(body)
        del body

        assert gone() is None
    finally:
        gc.enable()
