"""Whether a proxy is ready, and if not why: one value for `/readyz`, reports, metrics, scrapes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.process.metrics import Family, Telemetry


class Reason(Described):
    """Why a proxy is not ready."""

    SETTING = "setting", "an argument or a variable is wrong"
    POLICY = "policy", "there is no policy yet that can be used"
    ACCESS_RULES = "access-rules", "the access rules that filter the workload have not arrived"
    NAMESPACES = "namespaces", "the namespaces' labels have not arrived"
    PODS = "pods", "the list of pods has not arrived"
    BACKENDS = "backends", "there is no Prometheus server to ask"
    PORT = "port", "a port is taken by somebody else"
    STOPPING = "stopping", "it was told to end"


class Obstacle(NamedTuple):
    """One reason, and a sentence that says what exactly."""

    reason: Reason
    sentence: str


class Readiness(NamedTuple):
    """All that stands in a proxy's way; nothing where it is ready."""

    obstacles: tuple[Obstacle, ...] = ()

    @classmethod
    def of(cls, found: Iterable[Obstacle], busy_ports: Mapping[str, str]) -> "Readiness":
        """Gather obstacles; those with an empty sentence are none.

        Args:
            found: all but ports, the most important first.
            busy_ports: sentences by what a port is for.
        """
        ports = [Obstacle(Reason.PORT, sentence) for sentence in busy_ports.values()]
        return cls(tuple(item for item in (*found, *ports) if item.sentence))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is in the way, the most important first."""
        return tuple(item.sentence for item in self.obstacles)

    @property
    def refusal(self) -> str:
        """Why scrapes are refused; empty where they are not."""
        found = [item.sentence for item in self.obstacles if item.reason is not Reason.PORT]
        return found[0] if found else ""

    def observe(self, telemetry: Telemetry, prefix: str) -> None:
        """Set the metrics that `readiness_families` describes."""
        telemetry.set(f"{prefix}_faults", len(self.obstacles))
        telemetry.clear(f"{prefix}_unready")
        for obstacle in self.obstacles:
            telemetry.set(f"{prefix}_unready", 1, reason=obstacle.reason)


def readiness_families(prefix: str) -> tuple[Family, ...]:
    """Describe the metrics of a proxy's readiness; their names begin with `prefix`."""
    return (
        Family("gauge", f"{prefix}_faults", "Reasons why the proxy is not ready."),
        Family("gauge", f"{prefix}_unready", "Whether this is one of them.", ("reason",)),
    )
