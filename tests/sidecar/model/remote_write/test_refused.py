import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.remote_write.refused import labels_of, leave_out, read_named, split_series
from sidecar.model.remote_write.wire import (
    Metadata,
    MetricType,
    SeriesBlock,
    write_exemplar,
    write_labels,
    write_metadata,
    write_value,
)

_LABELS = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=300), max_size=4)


@given(st.lists(_LABELS, max_size=5), st.booleans())
def test_a_request_is_taken_apart_and_together(series: list[dict[str, str]], plain: bool) -> None:
    block = SeriesBlock([write_labels(labels) for labels in series])
    if plain:
        body = block.write([1.5] * len(series), 1_795_000_000_000)
    else:
        exemplars = [write_exemplar({"trace": "x"}, 1.0, 7)] * len(series)
        body = block.write_each([write_value(2.5)] * len(series), [5] * len(series), exemplars)
    parts = split_series(body + write_metadata([Metadata("a", MetricType.GAUGE, "help")], 100))

    assert b"".join(parts) == body
    assert [labels_of(part) for part in parts] == series


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ('series up{job="a"} refused', [{"__name__": "up", "job": "a"}]),
        ('{__name__="up", job="a}\\""}', [{"__name__": "up", "job": 'a}"'}]),
        ('x={a="1"} y={b="2"}', [{"a": "1"}, {"b": "2"}]),
        ("nothing is named {}", []),
        ("<html>{}", []),
        (r'up{job="\q"} y={b="2"}', [{"b": "2"}]),
        ("{" * 5000, []),
        ("{" + "a" * 500_000 + "}", []),  # each character is read only once
        ('{a="1", b}', [{"a": "1"}]),
    ],
)
def test_an_answer_names_series(answer: str, named: list[dict[str, str]]) -> None:
    assert read_named(answer) == named


def test_no_more_than_a_few_are_read_of_an_answer() -> None:
    assert len(read_named('{a="1"}' * 100)) == 20


@given(st.text(alphabet='{}="\\, ab', max_size=200))
def test_any_answer_is_read(answer: str) -> None:
    read_named(answer)


def test_those_that_are_named_are_left_out() -> None:
    block = SeriesBlock([write_labels({"n": str(number)}) for number in range(3)])
    series = split_series(block.write([0.0] * 3, 1_795_000_000_000))

    assert leave_out(series, [{"n": "1"}]) == [series[0], series[2]]
