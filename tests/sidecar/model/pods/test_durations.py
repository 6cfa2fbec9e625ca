import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.pods.durations import parse_duration

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


@pytest.mark.parametrize(("unit", "seconds"), _UNITS.items())
def test_each_unit_of_go_is_known(unit: str, seconds: float) -> None:
    assert parse_duration(f"3{unit}") == pytest.approx(3 * seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1m1ms", 60.001),
        ("1h1h", 7200),
        ("5s1m", 65),
        (".5s", 0.5),
        ("1.s", 1),
        ("007s", 7),
        ("0s", 0),
    ],
)
def test_parts_are_added_up_in_whatever_order(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", ".s", "5 s", " 5s", "5s ", "5s\n", "1d", "1w", "5S", "5s5", "1e3s", "1,5s",
     "1.2.3s", "-5s", "5m-1s", "0x5s", "٥s", "1_000s", "inf", "nan"],
)  # fmt: skip
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9 - 1), st.sampled_from(sorted(_UNITS))),
        min_size=1,
        max_size=9,
    )
)
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)

    assert parse_duration(text) == pytest.approx(sum(n * _UNITS[unit] for n, unit in parts))


@given(st.text(alphabet="0159.smhnuµ"))
def test_no_text_is_a_time_that_is_negative(text: str) -> None:
    seconds = parse_duration(text)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("text", ["1" * 100_000, "1s" * 50_000 + "!", "1.1" * 50_000])
def test_a_hostile_text_is_refused_without_going_back(text: str) -> None:
    assert parse_duration(text) is None
