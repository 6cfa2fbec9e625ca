import pytest

from sidecar.errors import ExpositionError, LimitError, UpstreamError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.limits import Limits
from sidecar.scrape import bodies
from sidecar.scrape.bodies import text_of
from sidecar.scrape.fetch import Fetched

_OPENMETRICS = "application/openmetrics-text"


def _text(body: bytes, kind: str, wanted: Format = Format.TEXT) -> bytes:
    return text_of(Fetched(body, kind), wanted, None, Limits())


def test_text_is_passed_on_as_it_is() -> None:
    assert _text(b"a 1\n", "text/plain") == b"a 1\n"


def test_openmetrics_becomes_text_where_text_is_wanted() -> None:
    assert _text(b"a 1 1.5\n# EOF\n", _OPENMETRICS) == b"a 1 1500\n"
    assert _text(b"a 1\n# EOF\n", _OPENMETRICS, Format.OPENMETRICS) == b"a 1\n# EOF\n"


def test_what_is_no_exposition_is_refused_with_a_hint() -> None:
    with pytest.raises(UpstreamError, match=r"'text/html'.*livery\.dev/fallback-protocol"):
        _text(b"<html>", "text/html")


def test_a_fallback_reads_what_the_type_does_not_say() -> None:
    fetched = Fetched(b"a 1\n", "text/html")

    assert text_of(fetched, Format.TEXT, Format.TEXT, Limits()) == b"a 1\n"


def test_openmetrics_that_is_not_valid_is_refused() -> None:
    with pytest.raises(ExpositionError):
        _text(b"a 1\n", _OPENMETRICS)


def test_openmetrics_of_too_many_lines_is_refused_before_it_is_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "MAX_COMMENT_LINES", 2)
    fetched = Fetched(b"a 1\nb 1\nc 1\n# EOF\n", _OPENMETRICS)

    with pytest.raises(LimitError, match="more than 3 lines of OpenMetrics"):
        text_of(fetched, Format.TEXT, None, Limits(samples=1))
    # No conversion is needed.
    assert text_of(fetched, Format.OPENMETRICS, None, Limits(samples=1)) == fetched.body
