"""Series in the form that a Pushgateway accepts: text, grouped by job and instance.

Source: https://github.com/prometheus/pushgateway#api
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.model.access.rules import Identity
from sidecar.model.exposition.lines import Reading, Shape
from sidecar.model.remote_write.selection import (
    NAME,
    NO_LABELS,
    Chosen,
    Labels,
    PlanBudget,
    Selector,
    SendingRule,
    read_families,
)
from sidecar.model.remote_write.wire import Metadata, MetricType

_LINE_BYTES = 350
"""Interpreter overhead of a line, besides its text."""
JOB, INSTANCE, MOVED_JOB = "job", "instance", "exported_job"
_is_name = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch
_is_plain = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.:-]+").fullmatch
_SUFFIXES = {
    "_bucket": (MetricType.HISTOGRAM,),
    "_count": (MetricType.HISTOGRAM, MetricType.SUMMARY),
    "_sum": (MetricType.HISTOGRAM, MetricType.SUMMARY),
    "_total": (MetricType.COUNTER,),
}
"""Suffixes of series names, with the family types that have them."""
_TYPES = {
    MetricType.COUNTER: "counter",
    MetricType.GAUGE: "gauge",
    MetricType.HISTOGRAM: "histogram",
    MetricType.SUMMARY: "summary",
}


class Group(NamedTuple):
    """A group of series, which a push replaces as a whole."""

    job: str
    instance: str

    @property
    def path(self) -> str:
        """Its path, to be appended to the Pushgateway's own."""
        path = f"/metrics/job{_segment(self.job)}"
        return f"{path}/instance{_segment(self.instance)}" if self.instance else path


class PushLine(NamedTuple):
    """One series of a group."""

    group: Group
    family: str
    kind: str
    """The family's type; empty if it is not one that a Pushgateway supports."""
    head: bytes
    """The line up to its value."""


class TargetLines:
    """The lines of one target's series under one rule, planned once per body shape.

    Args:
        rule: which series are sent, and with which labels.
        identity: the workload that the series belong to.
        job_name: the job of all groups; empty for each series' own.
        up_labels: labels of the target's `up` series: those of its namespace.
    """

    def __init__(
        self, rule: SendingRule, identity: Identity, job_name: str, up_labels: Labels = NO_LABELS
    ) -> None:
        self._families: Mapping[str, Metadata] = {}
        self._kinds = 0
        """A hash of the families and their types."""
        self.selector = Selector(rule, identity, self._line_of, up_labels, weigh=_weigh)
        self._job_name = job_name
        self._seen: int | None = None
        """The fingerprint of the last body's shape."""
        self._lines: list[Chosen[PushLine]] = []

    @property
    def series(self) -> int:
        """Number of series pushed each time, not including `up`."""
        return len(self._lines)

    def knows(self, shape: Shape) -> bool:
        """Return whether the series to send from a body of this shape are known."""
        return self._seen == shape.fingerprint and self.selector.is_complete

    def write(
        self, reading: Reading | None, budget: PlanBudget
    ) -> Iterable[tuple[PushLine, bytes]]:
        """Yield lines with their values.

        Args:
            reading: the target's body; None if it did not answer.
            budget: limits the work and memory for new series.
        """
        if reading is not None:
            if not self.knows(reading.shape):
                self._plan(reading.shape, budget)
            for index, line in self._lines:
                yield line, reading.tails[index].split(None, 1)[0]
        labels = self.selector.up()
        up = None if labels is None else push_line(labels, {}, self._job_name)
        if up is not None:
            yield up, b"1" if reading is not None else b"0"

    def _plan(self, shape: Shape, budget: PlanBudget) -> None:
        self._families = read_families(shape)
        kinds = hash(frozenset((name, one.kind) for name, one in self._families.items()))
        if kinds != self._kinds:
            self.selector.forget()  # lines contain the types of their families
        self._kinds, self._seen = kinds, shape.fingerprint
        self._lines = list(self.selector.choose(shape, budget))
        self._families = {}

    def _line_of(self, labels: dict[str, str]) -> PushLine | None:
        return push_line(labels, self._families, self._job_name)


def _weigh(line: PushLine) -> int:
    return 2 * len(line.head) + _LINE_BYTES


def push_line(
    labels: Mapping[str, str], families: Mapping[str, Metadata], job_name: str
) -> PushLine | None:
    """Return the line of a series; None if a Pushgateway does not accept its names.

    Args:
        labels: the labels with which it is sent.
        families: metadata of the known families.
        job_name: the job of its group; empty for the series' own.
    """
    own, name = dict(labels), labels[NAME]
    del own[NAME]
    if not all(map(_is_name, (name, *own))):
        return None
    job = own.pop(JOB, "")
    if job_name and job and job != job_name:
        own.setdefault(MOVED_JOB, job)
    group = Group(job_name or job or "livery", own.pop(INSTANCE, ""))
    family, kind = _family_of(name, families)
    pairs = ",".join(f'{key}="{_escape(value)}"' for key, value in sorted(own.items()))
    head = f"{name}{{{pairs}}} " if pairs else f"{name} "
    return PushLine(group, family, _TYPES.get(kind, ""), head.encode(errors="replace"))


def write_groups(lines: Iterable[tuple[PushLine, bytes]]) -> dict[Group, tuple[bytes, int]]:
    """Write the body of each group and count its series; of equal series the first is kept."""
    groups: dict[Group, dict[str, tuple[str, dict[bytes, bytes]]]] = {}
    for line, value in lines:
        families = groups.setdefault(line.group, {})
        _, held = families.setdefault(line.family, (line.kind, {}))
        held.setdefault(line.head, value)
    return {group: _write_body(families) for group, families in groups.items()}


def _write_body(families: Mapping[str, tuple[str, dict[bytes, bytes]]]) -> tuple[bytes, int]:
    parts: list[bytes] = []
    series = 0
    for family, (kind, held) in families.items():
        if kind:
            parts.append(f"# TYPE {family} {kind}\n".encode())
        parts += [b"%b%b\n" % (head, value) for head, value in held.items()]
        series += len(held)
    return b"".join(parts), series


def _family_of(name: str, families: Mapping[str, Metadata]) -> tuple[str, MetricType]:
    """Return a series' family and its type, as in the Prometheus text format."""
    if name in families:
        return name, families[name].kind
    for suffix, kinds in _SUFFIXES.items():
        known = families.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if known is not None and known.kind in kinds:
            is_counter = known.kind is MetricType.COUNTER
            return (name if is_counter else known.family), known.kind
    return name, MetricType.UNKNOWN


def _segment(value: str) -> str:
    """Return the path text that follows a label's name; unusual characters need base64."""
    if _is_plain(value):
        return f"/{value}"
    encoded = base64.urlsafe_b64encode(value.encode(errors="replace")).decode()
    return f"@base64/{encoded or '='}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
