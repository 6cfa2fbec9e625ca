"""A proxy's readiness and its reasons: one value for `/readyz`, reports, metrics and scrapes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.process.metrics import Family, Telemetry


class Reason(Described):
    """Why a proxy is not ready."""

    SETTING = "setting", "an argument or environment variable is invalid"
    POLICY = "policy", "there is no usable policy yet"
    ACCESS_RULES = "access-rules", "the access rules that filter the workload have not arrived"
    NAMESPACES = "namespaces", "the namespaces' labels have not arrived"
    PODS = "pods", "the list of pods has not arrived"
    BACKENDS = "backends", "no Prometheus backend is known"
    PORT = "port", "a port is in use by another process, or cannot be opened"
    STOPPING = "stopping", "the proxy is shutting down"


class Obstacle(NamedTuple):
    """One reason, and a sentence with the details."""

    reason: Reason
    sentence: str


class Readiness(NamedTuple):
    """All reasons why a proxy is not ready; empty if it is ready."""

    obstacles: tuple[Obstacle, ...] = ()

    @classmethod
    def of(cls, found: Iterable[Obstacle], busy_ports: Mapping[str, str]) -> "Readiness":
        """Collect obstacles; those with an empty sentence are skipped.

        Args:
            found: all obstacles except ports, the most important first.
            busy_ports: sentences about busy ports, by the port's purpose.
        """
        ports = [Obstacle(Reason.PORT, sentence) for sentence in busy_ports.values()]
        return cls(tuple(item for item in (*found, *ports) if item.sentence))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The obstacles as sentences, the most important first."""
        return tuple(item.sentence for item in self.obstacles)

    @property
    def refusal(self) -> str:
        """Why scrapes are refused; empty if they are not."""
        found = [item.sentence for item in self.obstacles if item.reason is not Reason.PORT]
        return found[0] if found else ""

    def observe(self, telemetry: Telemetry, prefix: str) -> None:
        """Set the metrics that `readiness_families` describes."""
        telemetry.set(f"{prefix}_faults", len(self.obstacles))
        telemetry.clear(f"{prefix}_unready")
        for obstacle in self.obstacles:
            telemetry.set(f"{prefix}_unready", 1, reason=obstacle.reason)


def readiness_families(prefix: str) -> tuple[Family, ...]:
    """Describe the metrics of a proxy's readiness; their names start with `prefix`."""
    return (
        Family("gauge", f"{prefix}_faults", "Reasons why the proxy is not ready."),
        Family(
            "gauge",
            f"{prefix}_unready",
            "Whether the proxy is not ready for this reason.",
            ("reason",),
        ),
    )
