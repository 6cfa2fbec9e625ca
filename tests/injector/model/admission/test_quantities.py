from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.admission.quantities import parse_quantity, render_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("2", 2),
        (2, 2),
        (0.5, Fraction(1, 2)),
        (1e22, 10**22),
        ("+1", 1),
        ("-1", -1),
        ("1.", 1),
        (".5", Fraction(1, 2)),
        ("250m", Fraction(1, 4)),
        ("1n", Fraction(1, 10**9)),
        ("1u", Fraction(1, 10**6)),
        ("1k", 1000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 1024),
        ("128Mi", 128 << 20),
        ("1.5Gi", 3 << 29),
        ("1Ti", 1 << 40),
        ("1Pi", 1 << 50),
        ("1Ei", 1 << 60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("12e+2", 1200),
    ],
)
def test_a_quantity_is_read_exactly(text: object, value: Fraction | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 ", " 1", "m", "1mi", "1K", "1KI", "1Mib", "--1", "1e", "1e3Mi", "0x1", "1_000",
     "1,5", "²", "١", "1\n", "inf", "nan", "1e100", "1" * 30, "100 m", None, True, [], {},
     float("inf"), float("nan")],
)  # fmt: skip
def test_what_is_no_quantity_is_none(text: object) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    ("value", "resource", "text"),
    [
        (Fraction(1, 100), "cpu", "10m"),
        (Fraction(1, 2000), "cpu", "1m"),
        (Fraction(2), "cpu", "2"),
        (Fraction(0), "cpu", "0"),
        (Fraction(48 << 20), "memory", "48Mi"),
        (Fraction(1 << 30), "memory", "1Gi"),
        (Fraction(1536), "memory", "1536"),
        (Fraction(2048), "memory", "2Ki"),
        (Fraction(1, 2), "memory", "1"),
        (Fraction(0), "memory", "0"),
    ],
)
def test_a_quantity_is_written_as_people_do(value: Fraction, resource: str, text: str) -> None:
    assert render_quantity(value, resource) == text


@given(st.integers(0, 10**15))
def test_memory_is_read_back_equal(size: int) -> None:
    assert parse_quantity(render_quantity(Fraction(size), "memory")) == size


@given(st.fractions(0, 10**6))
def test_cpu_is_read_back_as_much_or_a_thousandth_more(amount: Fraction) -> None:
    read = parse_quantity(render_quantity(amount, "cpu"))

    assert read is not None
    assert amount <= read < amount + Fraction(1, 1000)


@given(st.text(max_size=30) | st.from_regex(r"[-+.0-9eEmMki]{0,40}"))
def test_no_text_raises(text: str) -> None:
    parse_quantity(text)
