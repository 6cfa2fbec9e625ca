from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.scrape.request import ScrapeRequest

_WANTED = Negotiated(Format.TEXT, Escaping.UNDERSCORES)


def test_equal_requests_have_one_answer() -> None:
    assert hash(ScrapeRequest(_WANTED)) == hash(ScrapeRequest(_WANTED, "", ()))
    assert ScrapeRequest(_WANTED) != ScrapeRequest(_WANTED, "a=b")
