import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.timeouts import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TIMEOUT_SECONDS,
    scrape_timeout,
)


def _timeout(header: str) -> float:
    return scrape_timeout({"x-prometheus-scrape-timeout-seconds": header})


def test_a_scraper_that_gives_no_time_has_the_default() -> None:
    assert scrape_timeout({}) == DEFAULT_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    "header",
    ["", "x", "0", "-0", "-5", "nan", "inf", "-inf", "1e999", "5s", "0x5", "5, 6", "\u0665x"],
)
def test_a_time_that_is_none_is_the_default(header: str) -> None:
    assert _timeout(header) == DEFAULT_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("10.000000", 9.5), ("5", 4.5), ("1", 0.9), ("0.1", 0.09), ("1e1", 9.5)],
)
def test_a_margin_is_left_for_the_answer(header: str, seconds: float) -> None:
    assert _timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", ["120.5", "121", "3600", "1e300"])
def test_no_scraper_has_the_targets_wait_forever(header: str) -> None:
    assert _timeout(header) == MAX_TIMEOUT_SECONDS


@given(st.floats(min_value=1e-3, max_value=1e9))
def test_the_time_is_less_than_was_given_and_most_of_it(given_seconds: float) -> None:
    seconds = _timeout(repr(given_seconds))

    assert 0 < seconds < given_seconds
    assert seconds >= min(given_seconds * 0.9, MAX_TIMEOUT_SECONDS) * (1 - 1e-9)


@given(st.floats(min_value=1e-3, max_value=1e4), st.floats(min_value=1e-3, max_value=1e4))
def test_who_gives_more_time_has_no_less(one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert _timeout(repr(less)) <= _timeout(repr(more))


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_header_makes_a_time_out_of_bounds(header: str) -> None:
    assert 0 < _timeout(header) <= MAX_TIMEOUT_SECONDS
