import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.formats import (
    Escaping,
    Format,
    Negotiated,
    content_type,
    format_of_content_type,
    negotiate,
    target_accept,
)

_V2_45 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
_V2_49 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2"
)
_V3_5 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
_V3_0 = ",".join(f"{entry};escaping=allow-utf-8" for entry in _V2_49.split(","))
_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;q=0.7"
)
_TEXT, _OM = Format.TEXT, Format.OPENMETRICS
_PLAIN = Negotiated(_TEXT, Escaping.UNDERSCORES)


@pytest.mark.parametrize(
    ("accept", "fmt", "escaping"),
    [
        pytest.param(_V2_45, _OM, Escaping.UNDERSCORES, id="2.45"),
        pytest.param(_V2_49, _OM, Escaping.UNDERSCORES, id="2.49"),
        pytest.param(_V3_0, _OM, Escaping.ALLOW_UTF8, id="3.0"),
        pytest.param(_V3_5, _OM, Escaping.ALLOW_UTF8, id="3.5"),
        pytest.param(f"{_PROTOBUF},{_V3_5}", _OM, Escaping.ALLOW_UTF8, id="protobuf-first"),
        pytest.param(_PROTOBUF, _TEXT, Escaping.UNDERSCORES, id="protobuf-only"),
        pytest.param(
            "text/plain;version=0.0.4;q=1,*/*;q=0.1", _TEXT, Escaping.UNDERSCORES, id="vmagent"
        ),
        pytest.param("", _TEXT, Escaping.UNDERSCORES, id="none"),
        pytest.param("*/*", _TEXT, Escaping.UNDERSCORES, id="curl"),
        pytest.param("text/html,*/*;q=0.8", _TEXT, Escaping.UNDERSCORES, id="browser"),
        pytest.param("text/plain;version=9", _TEXT, Escaping.UNDERSCORES, id="unknown-version"),
        pytest.param(
            "application/openmetrics-text;version=2",
            _TEXT,
            Escaping.UNDERSCORES,
            id="openmetrics-2",
        ),
        pytest.param(";;==,,;q=x", _TEXT, Escaping.UNDERSCORES, id="garbage"),
        pytest.param("a," * 5000, _TEXT, Escaping.UNDERSCORES, id="10-kB"),
        pytest.param(
            "TEXT/PLAIN ; Version=1.0.0 ; escaping=dots", _TEXT, Escaping.DOTS, id="capitals"
        ),
        pytest.param("text/plain;escaping=values", _TEXT, Escaping.VALUES, id="values"),
        pytest.param("text/plain;escaping=?", _TEXT, Escaping.UNDERSCORES, id="unknown-escaping"),
        pytest.param("application/openmetrics-text;q=0", _TEXT, Escaping.UNDERSCORES, id="q-0"),
        pytest.param("application/openmetrics-text;q=nan", _TEXT, Escaping.UNDERSCORES, id="q-nan"),
    ],
)
def test_a_client_gets_what_it_asks_for(accept: str, fmt: Format, escaping: Escaping) -> None:
    assert negotiate(accept) == Negotiated(fmt, escaping)


def test_entries_beyond_the_sixty_fourth_do_not_count() -> None:
    assert negotiate("a," * 63 + "application/openmetrics-text").fmt is Format.OPENMETRICS
    assert negotiate("a," * 64 + "application/openmetrics-text").fmt is Format.TEXT


@given(st.text())
def test_any_header_is_answered(header: str) -> None:
    assert negotiate(header) in [Negotiated(fmt, way) for fmt in Format for way in Escaping]
    assert format_of_content_type(header) in (*Format, None)


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("escaping", Escaping)
def test_the_type_of_an_answer_is_the_one_negotiated(fmt: Format, escaping: Escaping) -> None:
    header = content_type(Negotiated(fmt, escaping))

    assert negotiate(header) == Negotiated(fmt, escaping)
    assert format_of_content_type(header) is fmt
    assert header.count("charset=utf-8") == 1


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("escaping", Escaping)
def test_a_target_is_asked_for_what_the_client_takes(fmt: Format, escaping: Escaping) -> None:
    asked = negotiate(target_accept(Negotiated(fmt, escaping)))

    assert asked.fmt is fmt
    assert (asked.escaping is Escaping.ALLOW_UTF8) is (escaping is Escaping.ALLOW_UTF8)


@pytest.mark.parametrize(
    ("header", "fmt"),
    [
        ("", _TEXT),
        ("text/plain", _TEXT),
        ("text/plain; version=0.0.4; charset=utf-8", _TEXT),
        ("Text/Plain", _TEXT),
        ("application/openmetrics-text; version=1.0.0", _OM),
        ("application/vnd.google.protobuf", None),
        ("text/html; charset=utf-8", None),
        ("application/json", None),
    ],
)
def test_the_format_of_a_body_is_told_by_its_type(header: str, fmt: Format | None) -> None:
    assert format_of_content_type(header) is fmt
