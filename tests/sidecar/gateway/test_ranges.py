import math
import time

import pytest

from sidecar.gateway.ranges import bounded_start, check_range, read_time
from sidecar.gateway.refusals import Refusal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000.5", 1700000000.5),
        ("2023-11-14T22:13:20Z", 1700000000),
        ("2023-11-14T23:13:20.5+01:00", 1700000000.5),
    ],
)
def test_times_are_numbers_or_rfc_3339(text: str, seconds: float) -> None:
    assert read_time({"time": [text]}, "time") == seconds
    assert read_time({}, "time") is None


@pytest.mark.parametrize("text", ["now", "NaN", "1e999", "2023-13-01T00:00:00Z"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(Refusal, match="is not a time") as caught:
        read_time({"start": [text]}, "start")

    assert caught.value.status == 400


def test_without_a_bound_nothing_is_read() -> None:
    check_range({"start": ["x"]}, math.inf, math.inf)
    assert bounded_start({"start": ["x"]}, math.inf) is None


@pytest.mark.parametrize(
    ("times", "reach", "asked"),
    [
        (("0", "3601"), 0, "1h"),
        (("0", "3000"), 700, "1.03h"),
        (("3000", "0"), 90_000, "1.04d"),
        ((), 3700, "1.03h"),
    ],
)
def test_a_range_includes_what_the_query_reaches_back(
    times: tuple[str, ...], reach: float, asked: str
) -> None:
    parameters = {name: [text] for name, text in zip(("start", "end"), times, strict=False)}
    check_range(parameters, reach, 100_000)

    with pytest.raises(Refusal, match=f"the range is {asked} .*; at most 1h is allowed") as caught:
        check_range(parameters, reach, 3600)
    assert caught.value.status == 422


def test_a_calculated_range_cannot_be_bounded() -> None:
    with pytest.raises(Refusal, match="write a number or a duration"):
        check_range({}, math.inf, 3600)


def test_a_start_is_put_in_where_there_is_none() -> None:
    assert bounded_start({"end": ["7200"]}, 3600) == "3600.000"
    assert float(bounded_start({}, 3600) or 0) == pytest.approx(time.time() - 3600, abs=5)
    assert bounded_start({"start": ["7000"], "end": ["7200"]}, 3600) is None
    assert bounded_start({"start": [str(time.time())]}, 3600) is None
    with pytest.raises(Refusal, match="at most 1h is allowed"):
        bounded_start({"start": ["0"], "end": ["7200"]}, 3600)
