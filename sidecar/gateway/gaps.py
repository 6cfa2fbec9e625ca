"""Merges the responses of two replicas: samples that the first lacks are taken from the second.

Replicas of one Prometheus scrape the same targets, each at its own times. One that was unavailable
for a while has no samples of that time, but the other does.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.gateway.answers import read_data, read_whole, too_large
from sidecar.gateway.backends.backend import Backend
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import JSON, Cause, Refusal
from sidecar.http.messages import Response

FILLED_PATHS = frozenset(["/api/v1/query", "/api/v1/query_range"])
MAX_BYTES = 32 << 20
"""Maximum size of one response: both are held in memory."""
FILLED_AT_ONCE = 2
"""Each takes about ten times its size in memory while it is merged."""
Answer = dict[str, Any]


async def ask_replicas(
    group: BackendGroup, question: Question, replicas: Sequence[Backend], limit_bytes: int
) -> Response:
    """Query several replicas at once, and merge their responses.

    Args:
        group: the group of the replicas.
        question: the request to send.
        replicas: the replicas to query; earlier ones take precedence.
        limit_bytes: maximum size of the merged response, and of each replica's.

    Raises:
        Refusal: no replica answers, the query is invalid, or a response is too large.
    """
    most = min(limit_bytes, MAX_BYTES)
    asked = (_ask(group, question, backend, most) for backend in replicas)
    answers = _answers_of(await asyncio.gather(*asked))
    return Response(200, await asyncio.to_thread(_write, answers, limit_bytes), JSON)


def _answers_of(said: Sequence[Answer | Refusal]) -> list[Answer]:
    answers = [item for item in said if not isinstance(item, Refusal)]
    for item in said:
        if not answers and isinstance(item, Refusal):
            raise item
    return answers


async def _ask(
    group: BackendGroup, question: Question, backend: Backend, limit_bytes: int
) -> Answer | Refusal:
    """Query one replica; a refusal is returned, not raised, because another may answer."""
    try:
        asked = await group.ask(question, takes_gzip=False, among=[backend])
        body = await read_whole(asked, limit_bytes)
        return await asyncio.to_thread(_parse, body)
    except Refusal as refusal:
        return refusal


def _parse(body: bytes) -> Answer:
    answer = read_data(body)
    if not isinstance(answer["data"], dict) or not isinstance(answer["data"].get("result"), list):
        sentence = "the backend does not answer like a Prometheus"
        raise Refusal(Cause.BACKEND, 502, sentence)
    return answer


def _write(answers: Sequence[Answer], limit_bytes: int) -> bytes:
    first, *others = answers
    try:
        for other in others:
            first = fill(first, other)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        sentence = "the backends' responses cannot be merged"
        raise Refusal(Cause.BACKEND, 502, sentence) from error
    body = json.dumps(first, separators=(",", ":")).encode()
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    return body


def fill(answer: Answer, other: Answer) -> Answer:
    """Return a response, completed with the series and samples that only another one has.

    Args:
        answer: a response of Prometheus' API; its samples take precedence.
        other: a response to the same query.
    """
    kind = answer["data"].get("resultType")
    if kind not in ("matrix", "vector") or other["data"].get("resultType") != kind:
        return answer
    result = {_key(item): item for item in answer["data"]["result"]}
    for item in other["data"]["result"]:
        key = _key(item)
        known = result.get(key)
        result[key] = item if known is None else _filled(known, item)
    warnings = list(dict.fromkeys([*answer.get("warnings", ()), *other.get("warnings", ())]))
    more = {"warnings": warnings} if warnings else {}
    return {**answer, **more, "data": {**answer["data"], "result": list(result.values())}}


def _filled(item: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(item)
    for kind in ("values", "histograms"):
        if kind in item or kind in other:
            points = {point[0]: point for point in other.get(kind, ())}
            points |= {point[0]: point for point in item.get(kind, ())}
            found[kind] = [points[moment] for moment in sorted(points)]
    return found


def _key(item: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item["metric"].items()))
