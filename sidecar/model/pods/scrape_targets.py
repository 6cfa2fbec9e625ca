"""The scrape targets of a pod, from its annotations, with named ports resolved.

If the annotations name no port, targets are guessed from the declared ports, as Prometheus does.
Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sidecar.errors import TargetError
from sidecar.model.pods.names import TARGETS
from sidecar.model.pods.pod_list import Port
from sidecar.model.pods.scrape_annotations import ScrapeFault, ScrapeWarning
from sidecar.model.targets import (
    MAX_TARGETS,
    RawTarget,
    Target,
    check_path,
    parse_port,
    parse_raw_target,
    split_targets,
)

MESH_CONTAINERS = frozenset(
    [
        "istio-init",
        "istio-validation",
        "istio-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-proxy",
    ]
)


class DeclaredPorts(NamedTuple):
    """A container that runs as long as its pod, and the ports that it declares."""

    name: str
    ports: tuple[Port, ...]


class FoundTargets(NamedTuple):
    """The targets that can be scraped, and what is wrong with the others."""

    targets: tuple[Target, ...]
    warnings: tuple[ScrapeWarning, ...]


def find_targets(
    containers: Sequence[DeclaredPorts], annotations: Mapping[str, str], scrape: Mapping[str, str]
) -> FoundTargets:
    """Return a pod's targets.

    Args:
        containers: those that run as long as the pod.
        annotations: the pod's annotations.
        scrape: the values of its `prometheus.io/…` annotations, by the last part of their keys.
    """
    if TARGETS not in annotations and not _port_of(scrape):
        guessed = _guess(containers, scrape)
        if guessed is not None:
            return guessed
    targets: list[Target] = []
    warnings: list[ScrapeWarning] = []
    try:
        readers = _readers(annotations.get(TARGETS), scrape)
    except TargetError as error:
        return FoundTargets((), (_warn(str(error)),))
    for read in readers:
        try:
            target = _resolve(containers, read())
        except TargetError as error:
            warnings.append(_warn(str(error)))
        else:
            targets.append(target._replace(name=_free_name(target, targets)))
    return FoundTargets(tuple(targets), tuple(warnings))


def _warn(text: str) -> ScrapeWarning:
    return ScrapeWarning(ScrapeFault.BAD_TARGET, f"target left out: {text}")


def _readers(listed: str | None, scrape: Mapping[str, str]) -> list[Callable[[], RawTarget]]:
    """Return a function that reads each target, so that an invalid one affects no other."""
    if listed is None:
        return [partial(_read_annotations, scrape)]
    parts = split_targets(listed)
    if not parts:
        raise TargetError(f"{TARGETS} names no target")
    return [partial(parse_raw_target, part) for part in parts]


def _port_of(scrape: Mapping[str, str]) -> str:
    return (scrape.get("port") or "").strip()


def _guess(containers: Sequence[DeclaredPorts], scrape: Mapping[str, str]) -> FoundTargets | None:
    """Use the declared ports; None if there are none, or the annotations are invalid."""
    ports = _scraped_ports(containers)
    named = [port for port in ports if _is_for_metrics(port.name)]
    chosen: dict[int, _Declared] = {}
    for port in named or ports:
        chosen.setdefault(port.number, port)
    try:
        raw = _read_annotations(scrape)
    except TargetError:
        return None
    if not chosen:
        return None
    targets = tuple(
        Target(port.container, raw.scheme, "", port.number, raw.path, is_guess=len(chosen) > 1)
        for port in list(chosen.values())[:MAX_TARGETS]
    )
    warnings = () if len(chosen) == 1 else (_warn_of_guess(targets, len(chosen)),)
    return FoundTargets(targets, warnings)


class _Declared(NamedTuple):
    container: str
    name: str
    number: int


def _scraped_ports(containers: Sequence[DeclaredPorts]) -> list[_Declared]:
    """The TCP ports that Prometheus discovers, except those of a mesh's containers."""
    return [
        _Declared(container.name, port.name, port.number)
        for container in containers
        if container.name not in MESH_CONTAINERS
        for port in container.ports
        if port.protocol in ("", "TCP") and 0 < port.number < 65536
    ]


def _is_for_metrics(name: str) -> bool:
    return name in ("metrics", "http-metrics") or name.startswith("prom")


def _warn_of_guess(targets: Sequence[Target], count: int) -> ScrapeWarning:
    shown = ", ".join(str(target.port) for target in targets)
    left = f" and not the other {count - len(targets)}" if count > len(targets) else ""
    text = f"no annotation names a port: {shown} are scraped{left}; set prometheus.io/port"
    return ScrapeWarning(ScrapeFault.GUESSED_TARGETS, text)


def _read_annotations(scrape: Mapping[str, str]) -> RawTarget:
    # Templates render an unset value as an empty one; Prometheus ignores it, too.
    scheme = (scrape.get("scheme") or "").strip().lower() or "http"
    path = (scrape.get("path") or "").strip()
    if path and not path.startswith("/"):
        path = f"/{path}"  # as Prometheus joins it to the address
    if scheme not in ("http", "https"):
        raise TargetError(f"scheme {scheme[:40]!r} is neither http nor https")
    return RawTarget("", scheme, "", _port_of(scrape) or "80", check_path(path))


def _free_name(target: Target, others: Sequence[Target]) -> str:
    """Return a name that no other target has: names become a label, which must be unique."""
    taken = {other.name for other in others}
    name, number = target.name, 1
    while name in taken:
        suffix = f"-{target.port}" if number == 1 else f"-{target.port}-{number}"
        name, number = f"{target.name[:50]}{suffix}", number + 1
    return name


def _resolve(containers: Sequence[DeclaredPorts], raw: RawTarget) -> Target:
    if raw.host:
        raise TargetError(f"{raw.host[:80]!r}: a target must not name a host, it is the pod itself")
    names = [container.name for container in containers]
    if raw.name and raw.name not in names:
        raise TargetError(f"the pod has no container {raw.name!r}")
    wanted = [container for container in containers if raw.name in ("", container.name)]
    port, owner = _find_port(wanted, raw.port)
    name = raw.name or owner or (names[0] if names else "")
    return Target(name, raw.scheme, "", port, raw.path)


def _find_port(containers: Sequence[DeclaredPorts], port: str) -> tuple[int, str]:
    """Return the port's number and the name of the container that declares it, if any."""
    declared = [(container.name, one) for container in containers for one in container.ports]
    if port.isascii() and port.isdigit():
        number = parse_port(port)
        return number, next((name for name, one in declared if one.number == number), "")
    for name, one in declared:
        if one.name == port:
            return parse_port(str(one.number)), name
    raise TargetError(f"no container declares a port named {port[:40]!r}")
