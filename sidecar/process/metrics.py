"""The proxy's own metrics in text format, without the 3.5 MB of a client library."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sidecar.model.exposition.escapes import escape
from sidecar.process.memory import cpu_seconds, resident_bytes


class Family(NamedTuple):
    """One counter or gauge."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...] = ()


PROCESS_FAMILIES = (
    Family("gauge", "process_resident_memory_bytes", "Resident memory."),
    Family("counter", "process_cpu_seconds_total", "User and system CPU time."),
)


def build_info(prefix: str) -> Family:
    """Describe the metric that shows a proxy's version."""
    return Family("gauge", f"{prefix}_build_info", "Version of this proxy.", ("version",))


class Telemetry:
    """Counters and gauges by name and labels; none has a sample until it is set or added to."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families
        self._samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {
            family.name: {} for family in families
        }

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Increase a counter."""
        samples = self._samples[name]
        key = tuple(sorted(labels.items()))
        samples[key] = samples.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._samples[name][tuple(sorted(labels.items()))] = value

    def clear(self, name: str) -> None:
        """Drop a family's samples."""
        self._samples[name].clear()

    def render(self) -> bytes:
        """Write all families in text format."""
        lines = []
        for kind, name, text, _ in self._families:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            for labels, value in sorted(self._samples[name].items()):
                lines.append(f"{name}{_block(dict(labels))} {value!r}")
        return "\n".join([*lines, ""]).encode()


def observe_process(telemetry: Telemetry) -> None:
    """Set the metrics of `PROCESS_FAMILIES`."""
    telemetry.set("process_resident_memory_bytes", resident_bytes())
    telemetry.set("process_cpu_seconds_total", round(cpu_seconds(), 3))


def _block(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{escape(value.encode()).decode()}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""
