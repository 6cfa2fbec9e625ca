from urllib.parse import parse_qs

import pytest

from sidecar.errors import QueryRefusedError
from sidecar.gateway.endpoints import find_endpoint
from sidecar.gateway.questions import Bounds, Question, write_question
from sidecar.gateway.refusals import JSON, Refusal
from sidecar.gateway.tenants import Views
from sidecar.http.messages import Request
from sidecar.model.access.rules import parse_access_rules

_RULES = parse_access_rules(
    [
        {"name": "a", "patterns": ["up"], "namespaces": ["shop"]},
        {
            "name": "b",
            "patterns": ["{job='db'}"],
            "labelSelectors": {"t": "x"},
            "namespaces": ["bank"],
        },
    ],
    "rules",
)

_BOUNDS = Bounds(16 << 10, 3600)


def _write(path: str, **parameters: list[str]) -> Question:
    named = {name.replace("match", "match[]"): values for name, values in parameters.items()}
    sight = Views({"shop": _RULES}).of(("shop",))
    accept = {"accept": "application/openmetrics-text,text/plain;escaping=allow-utf-8"}
    request = Request("GET", path, "", accept, "")
    return write_question(request, find_endpoint(path, "GET"), named, sight, bounds=_BOUNDS)


def test_federation_answers_in_text_with_names_as_they_are() -> None:
    federated = _write("/federate", match=["up"])
    assert federated.accept == "text/plain;version=1.0.0;escaping=allow-utf-8"
    assert federated.content_type == "text/plain"
    queried = _write("/api/v1/labels")
    assert (queried.accept, queried.content_type) == ("", JSON)


def test_a_query_is_sent_rewritten_with_its_times() -> None:
    question = _write("/api/v1/query", query=["queue"], time=["5"])

    assert (question.method, question.path) == ("POST", "/api/v1/query")
    assert parse_qs(question.form) == {
        "time": ["5"],
        "query": ['queue{namespace=~"bank",job=~"db",t=~"x"}'],
    }


def test_each_match_is_sent_for_each_branch() -> None:
    question = _write("/api/v1/series", match=["up", "{job='db'}", "up"])

    assert len(parse_qs(question.form)["match[]"]) == 4


def test_without_a_match_the_tenant_s_own_are_put_in() -> None:
    question = _write("/api/v1/label/job/values")

    assert question.method == "GET"
    assert parse_qs(question.form)["match[]"] == [
        '{__name__=~"up",namespace=~"shop"}',
        '{namespace=~"bank",job=~"db",t=~"x"}',
    ]


def test_what_reads_no_series_is_passed_on() -> None:
    assert parse_qs(_write("/api/v1/format_query", query=["a+b"]).form) == {"query": ["a+b"]}


@pytest.mark.parametrize(
    ("path", "parameters", "status", "reason"),
    [
        ("/api/v1/query", {}, 400, 'parameter "query" is needed'),
        ("/api/v1/query", {"query": ["up("]}, 400, 'invalid parameter "query": 1:1: parse error'),
        ("/api/v1/query", {"query": ["up" * 10_000]}, 422, "over 16384 bytes"),
        ("/api/v1/series", {"match": ["up[5m]"]}, 400, "unexpected"),
        ("/api/v1/series", {"match": ["{}"]}, 400, "at least one non-empty matcher"),
        ("/api/v1/series", {"match": ["up"] * 51}, 400, "more than 50 match"),
        ("/api/v1/query", {"query": ["rate(up[2h])"]}, 422, "the range is 2h .*; at most 1h is"),
        (
            "/api/v1/series",
            {"match": ["up"], "start": ["0"], "end": ["7200"]},
            422,
            "the range is 2h",
        ),
        (
            "/api/v1/series",
            {"match": ["up"], "start": ["yesterday"]},
            400,
            "start='yesterday' is not a time",
        ),
        ("/api/v1/series", {}, 400, "no match.. parameter provided"),
        ("/api/v1/format_query", {"query": ["1+" * 300 + "1"]}, 422, "over 200 operators"),
        ("/api/v1/format_query", {"query": ["(" * 300 + "1" + ")" * 300]}, 400, "nested deeper"),
        ("/api/v1/query", {"query": ["up"], "lookback_delta": ["365d"]}, 422, "the range is 365d"),
        ("/api/v1/query", {"query": ["up"], "lookback_delta": ["x"]}, 400, "nor a duration"),
        ("/api/v1/query_exemplars", {"query": ["up"], "start": ["0"]}, 422, "the range is"),
        ("/api/v1/format_query", {"query": ["é" * 9_000]}, 422, "over 16384 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    path: str, parameters: dict[str, list[str]], status: int, reason: str
) -> None:
    with pytest.raises(Refusal, match=reason) as caught:
        _write(path, **parameters)

    assert caught.value.status == status


def test_a_search_without_a_start_begins_where_the_tenant_may_read() -> None:
    question = _write("/api/v1/labels", start=["-3000"], end=["0"])
    assert parse_qs(question.form)["start"] == ["-3000"]
    question = _write("/api/v1/query_exemplars", query=["up"], end=["7200"])
    assert parse_qs(question.form)["start"] == ["3600.000"]
    question = _write("/api/v1/series", match=["up"], start=[""], end=["7200"])
    assert parse_qs(question.form, keep_blank_values=True)["start"] == ["3600.000"]
    question = _write("/api/v1/series", match=["up"], end=["7200"])
    assert parse_qs(question.form)["start"] == ["3600.000"]

    question = _write("/api/v1/series", match=["up"], start=["7000"], end=["7200"])
    assert parse_qs(question.form)["start"] == ["7000"]
    assert "start" not in parse_qs(_write("/federate", match=["up"]).form)


def test_what_cannot_be_answered_exactly_is_refused() -> None:
    with pytest.raises(QueryRefusedError, match="name the metric"):
        _write("/api/v1/query", query=["{job='db'}"])
