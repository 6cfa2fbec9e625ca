import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UpstreamError
from sidecar.http.origins import Origin

_ORIGIN = Origin("http", "10.0.0.7", 8080)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/metrics/", "/metrics/"), ("metrics/", "/a/metrics/"), ("?x=1", "/a/b?x=1"),
        ("http://10.0.0.7:8080/m?x=1#f", "/m?x=1"), ("//10.0.0.7:8080", "/"),
        ("HTTP://10.0.0.7:8080/m", "/m"), ("/a b/é", "/a%20b/%E9"), ("/%41", "/%41"),
    ],
)  # fmt: skip
def test_a_redirect_within_the_origin_gives_the_next_path(location: str, path: str) -> None:
    assert _ORIGIN.follow("/a/b?q=1", location) == path


@pytest.mark.parametrize(
    ("origin", "location"),
    [
        (Origin("http", "x", 80), "http://x/m"), (Origin("https", "x", 443), "https://x/m"),
        (Origin("http", "[::1]", 80), "http://[::1]/m"), (Origin("http", "X", 80), "http://x:80/m"),
    ],
)  # fmt: skip
def test_a_port_that_the_scheme_implies_need_not_be_named(origin: Origin, location: str) -> None:
    assert origin.follow("/", location) == "/m"


@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.8:8080/", "http://10.0.0.7/", "https://10.0.0.7:8080/", "//evil/", "ftp://x/",
     "http://10.0.0.7:8080@evil/", "javascript:1", "http://[::1", "http://x:99999/"],
)  # fmt: skip
def test_any_other_is_refused_and_shown(location: str) -> None:
    with pytest.raises(UpstreamError, match="redirected to '") as caught:
        _ORIGIN.follow("/", location)
    assert location in str(caught.value)


@pytest.mark.parametrize("location", ["", "/" + "x" * 5000])
def test_a_location_that_is_missing_or_huge_is_refused_briefly(location: str) -> None:
    with pytest.raises(
        UpstreamError, match="redirected to a Location that cannot be followed: "
    ) as caught:
        _ORIGIN.follow("/", location)
    assert len(str(caught.value)) < 300


@given(location=st.text(st.characters(max_codepoint=255), max_size=80))
def test_whatever_is_followed_fits_into_a_request_line(location: str) -> None:
    try:
        path = _ORIGIN.follow("/m", location)
    except UpstreamError:
        return
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()
    assert " " not in path
