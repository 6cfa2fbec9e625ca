import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UpstreamError
from sidecar.http.decoding import Decoder

_BODY = b'http_requests_total{code="200"} 1027\n' * 50
_ZIPPED = gzip.compress(_BODY)


def _decode(coding: str, *parts: bytes) -> bytes:
    decoder = Decoder(coding)
    body = b"".join(piece for part in parts for piece in decoder.decode(part))
    decoder.finish()
    return body


@pytest.mark.parametrize(
    "coding",
    ["", "identity", "Identity", "none", "text/plain", "br", "x-gzip", "gzip, gzip", "utf-8"],
)
def test_a_body_in_any_other_coding_passes_unchanged(coding: str) -> None:
    assert Decoder(coding).is_identity
    assert _decode(coding, _ZIPPED, b"\0") == _ZIPPED + b"\0"


@pytest.mark.parametrize("coding", ["gzip", "GZIP"])
def test_a_gzip_body_is_decoded_however_its_name_is_written(coding: str) -> None:
    assert not Decoder(coding).is_identity
    assert _decode(coding, _ZIPPED) == _BODY


@given(body=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_a_gzip_body_may_arrive_in_any_parts(body: bytes, cuts: list[int]) -> None:
    zipped = gzip.compress(body)
    ends = sorted({min(cut, len(zipped)) for cut in cuts} | {len(zipped)})
    parts = [zipped[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    assert _decode("gzip", *parts) == body


def test_a_bomb_is_decoded_in_pieces_of_at_most_256_kib() -> None:
    bomb = gzip.compress(b"\0" * (5 << 20))

    sizes = [len(piece) for piece in Decoder("gzip").decode(bomb)]

    assert (max(sizes), sum(sizes)) == (256 << 10, 5 << 20)


@pytest.mark.parametrize("size", [0, 5, 10, len(_ZIPPED) // 2, len(_ZIPPED) - 1])
def test_a_gzip_body_that_breaks_off_is_refused_at_its_end(size: int) -> None:
    with pytest.raises(
        UpstreamError, match="the gzip body is incomplete or followed by other data"
    ):
        _decode("gzip", _ZIPPED[:size])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_BODY, id="not compressed"),
        pytest.param(_ZIPPED[:-8] + b"\0" * 4 + _ZIPPED[-4:], id="wrong checksum"),
        pytest.param(_ZIPPED[:-4] + b"\0" * 4, id="wrong length"),
    ],
)
def test_a_damaged_gzip_body_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamError, match="the gzip body is damaged: "):
        _decode("gzip", body)


@pytest.mark.parametrize("parts", [(_ZIPPED + b"x",), (_ZIPPED, b"x"), (_ZIPPED, b"no gzip")])
def test_data_after_a_gzip_body_is_refused_wherever_it_was_cut(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(UpstreamError, match=r"the gzip body is (incomplete|damaged)"):
        _decode("gzip", *parts)


@given(cut=st.integers(0, 2 * len(_ZIPPED)))
def test_a_gzip_body_may_have_several_members(cut: int) -> None:
    whole = _ZIPPED + _ZIPPED

    assert _decode("gzip", whole[:cut], whole[cut:]) == _decode("gzip", _ZIPPED) * 2
