"""Limits the time range that a request may read."""

import math
import re
import time
from datetime import UTC, datetime

from sidecar.gateway.parameters import Parameters
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.model.promql.literals import duration_seconds

_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")


def read_time(parameters: Parameters, name: str) -> float | None:
    """Return a time as Unix seconds; None if it is not given.

    Raises:
        Refusal: it is neither a number nor a time in RFC 3339 format.
    """
    (text,) = parameters.get(name) or [""]
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None:
            sentence = f"{name}={text[:40]!r} is not a time: use Unix seconds or RFC 3339"
            raise Refusal(Cause.PARAMETERS, 400, sentence) from None
        found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(found):
        raise Refusal(Cause.PARAMETERS, 400, f"{name}={text[:40]!r} is not a time")
    return found


def read_lookback(parameters: Parameters) -> float:
    """Return the lookback delta that a request sets, in seconds; 0 if it sets none.

    Raises:
        Refusal: it is neither seconds nor a duration.
    """
    (text,) = parameters.get("lookback_delta") or [""]
    is_duration = _DURATION.fullmatch(text) is not None
    try:
        seconds = duration_seconds(text) if is_duration else float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        sentence = f"lookback_delta={text[:40]!r} is neither seconds nor a duration such as 5m"
        raise Refusal(Cause.PARAMETERS, 400, sentence)
    return seconds


def check_range(parameters: Parameters, reach_seconds: float, limit_seconds: float) -> None:
    """Check that a query stays within the time range that it may read.

    Args:
        parameters: the request's, with `start` and `end` of a range query.
        reach_seconds: how far before its evaluation the query reads; infinite if it is calculated.
        limit_seconds: longest time range that the query may read.

    Raises:
        Refusal: the query reads more.
    """
    if math.isinf(limit_seconds):
        return
    start, end = read_time(parameters, "start"), read_time(parameters, "end")
    seconds = 0.0 if start is None or end is None else max(0.0, end - start)
    _check_seconds(reach_seconds + seconds, limit_seconds)


def bounded_start(parameters: Parameters, limit_seconds: float) -> str | None:
    """Return the `start` that limits a request without one to the time range that it may read.

    None if the request has its own `start`, or may read everything.

    Raises:
        Refusal: its times are invalid, or too far apart.
    """
    if math.isinf(limit_seconds):
        return None
    end, start = read_time(parameters, "end"), read_time(parameters, "start")
    if end is None:
        end = time.time()
    if start is None:
        return f"{end - limit_seconds:.3f}"
    _check_seconds(max(0.0, end - start), limit_seconds)
    return None


def _check_seconds(seconds: float, limit_seconds: float) -> None:
    if math.isinf(seconds):
        sentence = "a calculated duration cannot be checked against the limit of time ranges"
        raise Refusal(Cause.SIZE, 422, f"{sentence}; write a number or a duration such as 5m")
    if seconds > limit_seconds:
        asked, most = _shown(seconds), _shown(limit_seconds)
        sentence = f"the range is {asked} with the query's own ranges; at most {most} is allowed"
        raise Refusal(Cause.SIZE, 422, sentence)


def _shown(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.3g}s"
