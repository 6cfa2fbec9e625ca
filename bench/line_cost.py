"""Cost of one line of application text that was seen in the last scrape, values checked."""

import base64
import time

from prometheus_client.parser import text_string_to_metric_families

from bench.exposition import application_text
from bench.table import Row
from sidecar.model.families import Plan, arrange
from sidecar.model.formats import Escaping, Format
from sidecar.model.policy import Policy
from sidecar.model.rewriting import Marking, Rewriting
from sidecar.model.series import Limits, SeriesMemory
from tests.real_parts.go import RealPartMissing
from tests.real_parts.oracle import Oracle

_SERIES = 1000


def measure() -> list[Row]:
    policy = Policy(labels={"team": "frontend", "cost_center": "4711"})
    memory = SeriesMemory(Rewriting(policy, Marking(), Escaping.ALLOW_UTF8), Format.TEXT, Limits())
    bodies = [application_text(_SERIES, turn) for turn in range(1, 301)]
    lines = bodies[0].count(b"\n")
    started = time.perf_counter()
    plan = arrange([memory.read(bodies[0])], Format.TEXT)
    cold = (time.perf_counter() - started) / lines * 1e6
    best = min(_warm(memory, plan, body) for body in bodies) / lines * 1e6
    compared = (
        f"cold {cold:.2f} µs; client_python's parser {_client_python(bodies[0]) / lines:.1f} µs"
    )
    return [Row("one warm line, labelled", best, "µs", 0.25, compared + _go(bodies[0]))]


def _warm(memory: SeriesMemory, plan: Plan, body: bytes) -> float:
    started = time.perf_counter()
    reading = memory.read(body)
    plan.render(reading.tails)
    return time.perf_counter() - started


def _client_python(body: bytes) -> float:
    text = body.decode()
    started = time.perf_counter()
    for _ in text_string_to_metric_families(text):
        pass
    return (time.perf_counter() - started) * 1e6


def _go(body: bytes) -> str:
    try:
        with Oracle() as oracle:
            encoded = base64.b64encode(body).decode()
            figures = [
                oracle.ask({"op": "bench", "what": what, "body": encoded, "seconds": 0.5})
                for what in ("textparse", "expfmt")
            ]
    except RealPartMissing:
        return ""
    parse, expfmt = (figure["ns_per_line"] / 1000 for figure in figures)
    return f"; Go textparse {parse:.2f} µs (reads only), Go expfmt {expfmt:.2f} µs"
