import gzip

import pytest

from sidecar.http.messages import Response
from sidecar.http.negotiation import GZIP_MIN_BYTES
from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.scrape.answers import render_scrape
from sidecar.scrape.rendering import Scrape

_WANTED = Negotiated(Format.TEXT, Escaping.UNDERSCORES)


def _shared(body: bytes = b"a 1\n", status: int = 200, fmt: Format = Format.TEXT) -> Scrape:
    return Scrape(status, body, fmt, ())


def _headers(response: Response) -> dict[str, str]:
    return dict(response.headers)


@pytest.mark.parametrize("status", [502, 504])
def test_a_failed_scrape_is_its_sentence_on_one_line(status: int) -> None:
    response = render_scrape(_shared(b"why", status), _WANTED, {"accept-encoding": "gzip"})

    assert (response.status, response.body, response.headers) == (status, b"why\n", ())
    assert response.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("fmt", "media"),
    [(Format.TEXT, "text/plain; version=0.0.4"), (Format.OPENMETRICS, "application/openmetrics")],
)
@pytest.mark.parametrize("asked", Format)
def test_the_content_type_is_that_of_the_text_not_of_the_request(
    asked: Format, fmt: Format, media: str
) -> None:
    response = render_scrape(_shared(fmt=fmt), Negotiated(asked, Escaping.DOTS), {})

    assert response.content_type.startswith(media)
    assert response.content_type.endswith("; escaping=dots")


@pytest.mark.parametrize(
    ("size", "accepts", "is_zipped"),
    [
        (GZIP_MIN_BYTES, "gzip", True),
        (GZIP_MIN_BYTES, "deflate, GZIP;q=0.5", True),
        (GZIP_MIN_BYTES - 1, "gzip", False),
        (GZIP_MIN_BYTES, "", False),
        (GZIP_MIN_BYTES, "gzip;q=0", False),
        (GZIP_MIN_BYTES, "br", False),
    ],
)
def test_an_answer_is_compressed_where_that_is_accepted_and_pays(
    size: int, accepts: str, is_zipped: bool
) -> None:
    body = b"a" * size
    response = render_scrape(_shared(body), _WANTED, {"accept-encoding": accepts})

    assert (_headers(response).get("Content-Encoding") == "gzip") is is_zipped
    assert (gzip.decompress(response.body) if is_zipped else response.body) == body


@pytest.mark.parametrize("accepts", ["", "gzip"])
def test_caches_on_the_way_learn_what_an_answer_depends_on(accepts: str) -> None:
    response = render_scrape(_shared(b"a" * 9000), _WANTED, {"accept-encoding": accepts})

    assert _headers(response)["Vary"] == "Accept, Accept-Encoding"


def test_clients_that_share_a_scrape_share_its_compressed_body() -> None:
    shared, accepts = _shared(b"a" * 9000), {"accept-encoding": "gzip"}

    first, second = (render_scrape(shared, _WANTED, accepts) for _ in range(2))

    assert first.body is second.body
