"""The response to a scrape of many pods: written in chunks as each client reads it."""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from weakref import WeakSet

from sidecar.errors import UpstreamTimeoutError
from sidecar.http.messages import Response
from sidecar.http.negotiation import GZIP_MIN_BYTES, compress, compress_parts, takes_gzip
from sidecar.model.exposition.families import FamilyPlan, Row
from sidecar.model.exposition.formats import content_type
from sidecar.scrape.pods.fan_out import Outcome
from sidecar.scrape.pods.settings import PodsSettings
from sidecar.scrape.pods.view import PodsView

POD_METRICS = {
    "up": "Whether the pod's last scrape succeeded.",
    "livery_pod_scrape_duration_seconds": "How long the pod's scrape took.",
    "livery_pod_samples": "Samples that the pod exposed.",
}
"""Help texts of the metrics added to the pods' series; the name of the first is configurable."""
TARGETS_METRIC = "livery_pod_targets"
TARGETS_HELP = "Targets of pods in this scrape."
MAX_ERRORS = 50
"""Failed targets that the exposition shows, with a comment each."""
MAX_REASON_CHARACTERS = 400
_VALUES: tuple[Callable[[Outcome], float], ...] = (
    lambda outcome: int(outcome.error is None),
    lambda outcome: round(outcome.duration_seconds, 6),
    lambda outcome: outcome.samples,
)
_SAMPLE_BYTES = 56
"""Memory that the interpreter uses for a value besides its text."""


class PodsAnswer:
    """One scrape's result; its status is always 200, and it contains each target's state.

    Args:
        view: the client's view.
        settings: label and metric names.
        plan: order of the targets' series.
        rows: parsed responses of the targets.
        outcomes: results of all targets.
    """

    def __init__(
        self,
        view: PodsView,
        settings: PodsSettings,
        plan: FamilyPlan,
        rows: Sequence[Row],
        *,
        outcomes: Sequence[Outcome],
    ) -> None:
        self._view = view
        self._settings = settings
        self._plan = plan
        self._rows = rows
        self.outcomes = outcomes
        self.samples = sum(outcome.samples for outcome in outcomes)
        self.left_out = plan.left_out
        """Series omitted because they equal others."""
        self.is_released = False
        """Whether it was freed because clients read it too slowly."""
        self._writing: WeakSet[Generator[bytes, None, None]] = WeakSet()
        self.held_bytes = sum(row.reading.tail_bytes for row in rows) + _SAMPLE_BYTES * self.samples
        """Memory that it uses until clients have read all of it."""

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the exposition in chunks of about 256 KiB."""
        yield from self._plan.render(self._rows)
        yield self._own

    def release(self) -> None:
        """Free its memory; clients that are still reading it are disconnected."""
        self.is_released = True
        self.held_bytes = 0
        self._rows, self.outcomes = (), ()
        for chunks in self._writing:
            chunks.close()

    @cached_property
    def _own(self) -> bytes:
        """The proxy's own families, and the errors of failed targets."""
        failed = [item for item in self.outcomes if item.error is not None][:MAX_ERRORS]
        names = [self._settings.up_name, *list(POD_METRICS)[1:]]
        rows = zip(names, POD_METRICS.values(), _VALUES, strict=True)
        return b"".join(
            [
                *(_comment(item.target.name, str(item.error)) for item in failed),
                *(self._write(name.encode(), text, value) for name, text, value in rows),
                _gauge(TARGETS_METRIC, TARGETS_HELP, len(self.outcomes)),
            ]
        )

    def _write(self, name: bytes, text: str, value: Callable[[Outcome], float]) -> bytes:
        values = [(outcome.target, value(outcome)) for outcome in self.outcomes]
        return self._view.write_own(name, text, values)

    async def _follow(
        self, begun: list[bytes], rest: Iterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        while begun:
            yield begun.pop(0)
        for chunk in rest:
            yield chunk
        if self.is_released:
            raise UpstreamTimeoutError("the client did not read the response within its timeout")

    def respond(self, headers: Mapping[str, str]) -> Response:
        """Return the HTTP response; `headers` are the request's, with names in lower case."""
        chunks = self.chunks()
        first, second = next(chunks, b""), next(chunks, None)
        kind, vary = content_type(self._view.wanted), ("Vary", "Accept, Accept-Encoding")
        is_compressed = takes_gzip(headers.get("accept-encoding", ""))
        gzip = (vary, ("Content-Encoding", "gzip"))
        third = None if second is None else next(chunks, None)
        if second is None or third is None:
            body = first + (second or b"")
            if is_compressed and len(body) >= GZIP_MIN_BYTES:
                return Response(200, compress(body), kind, gzip)
            return Response(200, body, kind, (vary,))
        self._writing.add(chunks)
        parts = self._follow([first, second, third], chunks)
        if is_compressed:
            return Response(200, b"", kind, gzip, compress_parts(parts))
        return Response(200, b"", kind, (vary,), parts)


def _comment(name: str, reason: str) -> bytes:
    line = " ".join(f"# {name}: {reason}"[:MAX_REASON_CHARACTERS].split())
    return line.encode(errors="replace") + b"\n"


def _gauge(name: str, text: str, value: int) -> bytes:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n".encode()
