"""The proxy's own metrics: a few numbers and their text, without a client library's 3.5 MB."""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.model.exposition import escape


class _Family(NamedTuple):
    kind: str
    help: str
    samples: dict[tuple[tuple[str, str], ...], float]


class Telemetry:
    """Counters and gauges by name and labels."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def declare(self, kind: str, name: str, description: str) -> None:
        """Make a family known; it has no sample before the first is set or added."""
        self._families[name] = _Family(kind, description, {})

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count up."""
        samples = self._families[name].samples
        key = tuple(sorted(labels.items()))
        samples[key] = samples.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._families[name].samples[tuple(sorted(labels.items()))] = value

    def render(self) -> bytes:
        """Write all families in text format."""
        lines = []
        for name, family in self._families.items():
            lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
            for labels, value in sorted(family.samples.items()):
                lines.append(f"{name}{_block(dict(labels))} {value!r}")
        return "\n".join([*lines, ""]).encode()


def _block(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{escape(value.encode()).decode()}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""
