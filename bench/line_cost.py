"""Cost of one exposition line whose series was in the previous scrape, values checked."""

import base64
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from bench.exposition import application_text
from bench.table import Row
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.merge import MergePlan, plan_merge
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.real_parts.go import RealPartMissing
from tests.real_parts.oracle import Oracle

_SERIES = 1000
_SCRAPES = 300


def measure() -> list[Row]:
    policy = SeriesPolicy(labels={"team": "frontend", "cost_center": "4711"})
    bodies = [application_text(_SERIES, turn) for turn in range(1, _SCRAPES + 1)]
    lines = bodies[0].count(b"\n")

    def read_first() -> tuple[SeriesCache, MergePlan]:
        rewriter = SeriesRewriter(policy, RewriteContext(), Escaping.ALLOW_UTF8)
        cache = SeriesCache(rewriter, Format.TEXT, Limits())
        return cache, plan_merge([cache.read(bodies[0])], Format.TEXT)

    cache, plan = read_first()

    def read_again(body: bytes) -> None:
        plan.render(cache.read(body).tails)

    text = bodies[0].decode()
    warm = _median([partial(read_again, body) for body in bodies])
    cold = _median([read_first] * 20)
    client = _median([lambda: deque(text_string_to_metric_families(text), 0)] * 20)
    compared = f"cold {cold / lines:.2f} µs; client_python's parser {client / lines:.1f} µs"
    return [Row("one warm line, labelled", warm / lines, "µs", 0.25, compared + _go(bodies[0]))]


def _median(works: Sequence[Callable[[], object]]) -> float:
    """Run each; return the median of their times in microseconds."""
    times = []
    for work in works:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


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
