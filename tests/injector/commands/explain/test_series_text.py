import pytest

from injector.commands.explain.series_text import read_series, write_series
from injector.errors import SettingsError


@pytest.mark.parametrize(
    "text", ["up", 'up{job="web",zone="مالية"}', '{"name with blanks",a="b\\"c"}'],
    ids=["name", "labels", "quoted"],
)  # fmt: skip
def test_a_series_is_written_as_it_was_read(text: str) -> None:
    assert read_series(write_series(read_series(text, "SERIES")), "SERIES") == read_series(
        text, "SERIES"
    )


def test_labels_are_sorted_after_the_name() -> None:
    assert write_series({"b": "2", "__name__": "up", "a": "1"}) == 'up{a="1",b="2"}'
    assert write_series({"b": "2"}) == "{}"


@pytest.mark.parametrize("text", ["up{", 'up{a!="b"}', 'up{a=~"b"}', ""])
def test_what_is_no_series_is_refused_with_the_argument(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--series: "):
        read_series(text, "--series")
