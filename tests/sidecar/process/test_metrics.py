import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.formats import Format
from sidecar.process.metrics import (
    PROCESS_FAMILIES,
    Family,
    Telemetry,
    build_info,
    observe_process,
)
from tests.sidecar.model.reading import read

_SCRAPES = Family("counter", "scrapes_total", "Scrapes per code.", ("code",))
_UP = Family("gauge", "up", "Whether it is up.")


def _lines(telemetry: Telemetry) -> list[str]:
    return [line for line in telemetry.render().decode().splitlines() if line[0] != "#"]


def test_a_family_is_described_before_it_has_a_sample() -> None:
    assert Telemetry([_SCRAPES, _UP]).render().decode() == (
        "# HELP scrapes_total Scrapes per code.\n# TYPE scrapes_total counter\n"
        "# HELP up Whether it is up.\n# TYPE up gauge\n"
    )


def test_without_families_the_text_is_empty() -> None:
    assert Telemetry([]).render() == b""


def test_a_counter_adds_up_per_label_value() -> None:
    telemetry = Telemetry([_SCRAPES])
    for code, amount in [("502", 1), ("200", 1), ("200", 2.5)]:
        telemetry.add("scrapes_total", amount, code=code)

    assert _lines(telemetry) == ['scrapes_total{code="200"} 3.5', 'scrapes_total{code="502"} 1']


def test_a_gauge_holds_its_last_value() -> None:
    telemetry = Telemetry([_UP])
    for value in (3, 1, 0):
        telemetry.set("up", value)

    assert _lines(telemetry) == ["up 0"]


def test_the_order_of_labels_does_not_matter() -> None:
    telemetry = Telemetry([_UP])
    telemetry.add("up", b="2", a="1")
    telemetry.add("up", a="1", b="2")

    assert _lines(telemetry) == ['up{a="1",b="2"} 2']


def test_a_name_without_a_family_is_a_mistake() -> None:
    telemetry = Telemetry([_UP])

    with pytest.raises(KeyError):
        telemetry.add("down")
    with pytest.raises(KeyError):
        telemetry.set("down", 1)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(value=_TEXT, number=st.one_of(st.integers(), st.floats()))
def test_any_label_value_and_number_is_read_back(value: str, number: float) -> None:
    telemetry = Telemetry([_UP])
    telemetry.set("up", number, path=value)

    row = read(telemetry.render(), Format.TEXT)[-1]

    assert row[:3] == ("series", "up", [("path", value)] if value else [])
    assert row[3] == repr(float(number))


def test_the_process_is_observed_in_all_of_its_families() -> None:
    telemetry = Telemetry(PROCESS_FAMILIES)
    observe_process(telemetry)

    values = dict(line.split(" ") for line in _lines(telemetry))
    assert set(values) == {family.name for family in PROCESS_FAMILIES}
    assert float(values["process_resident_memory_bytes"]) > 1 << 20


def test_the_version_is_a_label_of_a_gauge_of_the_role() -> None:
    family = build_info("livery_node")

    assert family[:2] == ("gauge", "livery_node_build_info")
    assert family.labels == ("version",)
