import json
from typing import Any

import pytest

from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.gaps import ask_replicas, fill
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import JSON, Refusal
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio
_QUESTION = Question("POST", "/api/v1/query_range", "query=up")


def _answer(kind: str, *result: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": list(result)}, **more}


def _series(name: str, *points: tuple[float, str], kind: str = "values") -> dict[str, Any]:
    return {"metric": {"__name__": name}, kind: [list(point) for point in points]}


def test_samples_that_one_lacks_are_the_other_s() -> None:
    one = _answer("matrix", _series("a", (1, "1"), (3, "3")), _series("b", (1, "x")))
    other = _answer("matrix", _series("c", (1, "z")), _series("a", (1, "9"), (2, "2"), (4.5, "4")))

    assert fill(one, other)["data"]["result"] == [
        _series("a", (1, "1"), (2, "2"), (3, "3"), (4.5, "4")),
        _series("b", (1, "x")),
        _series("c", (1, "z")),
    ]


def test_histograms_are_filled_alike_and_warnings_are_those_of_both() -> None:
    one = _answer("matrix", _series("a", (1, "h"), kind="histograms"), warnings=["w"])
    other = _answer("matrix", _series("a", (2, "v")), warnings=["w", "x"])

    filled = fill(one, other)
    (series,) = filled["data"]["result"]
    assert (series["histograms"], series["values"]) == ([[1, "h"]], [[2, "v"]])
    assert filled["warnings"] == ["w", "x"]


def test_an_instant_has_the_series_of_both() -> None:
    one = _answer("vector", {"metric": {"a": "1"}, "value": [1, "1"]})
    other = _answer(
        "vector", {"metric": {"a": "1"}, "value": [1, "2"]}, {"metric": {}, "value": [1, "3"]}
    )

    values = [item["value"][1] for item in fill(one, other)["data"]["result"]]
    assert values == ["1", "3"]


def test_numbers_are_the_first_one_s() -> None:
    one = _answer("scalar", 1, "1")

    assert fill(one, _answer("scalar", 1, "2")) is one
    assert fill(one, _answer("matrix")) is one


_GOOD = http(json.dumps(_answer("matrix", _series("a", (1, "1")))).encode(), JSON)
_MORE = http(json.dumps(_answer("matrix", _series("a", (2, "2")))).encode(), JSON)
_BAD_QUERY = http(b'{"error": "bad"}', JSON, "400 Bad Request")
_AWAY = http(b"", status="500 Internal Server Error")


async def _ask(*answers: bytes, limit_bytes: int = 1 << 20) -> dict[str, Any]:
    async with App(answers[0]) as one, App(answers[1]) as other:
        group = BackendGroup(BackendSettings(), 5)
        group.use([f"http://127.0.0.1:{app.port}" for app in (one, other)])
        try:
            response = await ask_replicas(group, _QUESTION, group.backends, limit_bytes)
        finally:
            group.close()
    found: dict[str, Any] = json.loads(response.body)
    return found


async def test_two_replicas_are_asked() -> None:
    answer = await _ask(_GOOD, _MORE)

    assert answer["data"]["result"] == [_series("a", (1, "1"), (2, "2"))]


@pytest.mark.parametrize("other", [_AWAY, http(b"[]", JSON), http(b"{", JSON), b"no HTTP"])
async def test_one_that_does_not_answer_takes_nothing_away(other: bytes) -> None:
    assert (await _ask(other, _GOOD))["data"]["result"] == [_series("a", (1, "1"))]


async def test_a_query_that_is_wrong_is_wrong_at_both() -> None:
    with pytest.raises(Refusal, match=r"^bad$") as caught:
        await _ask(_BAD_QUERY, _AWAY)
    assert caught.value.status == 400


async def test_answers_that_do_not_fit_are_said_to_be_none() -> None:
    odd = http(json.dumps(_answer("matrix", {"values": []})).encode(), JSON)
    with pytest.raises(Refusal, match="responses cannot be merged"):
        await _ask(_GOOD, odd)


async def test_answers_and_what_they_become_are_bounded() -> None:
    most = max(len(_GOOD), len(_MORE))
    with pytest.raises(Refusal, match="the response is over") as caught:
        await _ask(_GOOD, _MORE, limit_bytes=60)
    assert caught.value.status == 422
    assert await _ask(_GOOD, _MORE, limit_bytes=most)
