"""Where a pod's metrics are, as its annotations say, with named ports resolved.

Where they name no port, the declared ones are guessed at, as Prometheus' own discovery would.
Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from injector.model.admission.outcomes import AdmissionWarning, WarningCode
from injector.model.cluster.names import MESH_CONTAINERS, TARGETS
from injector.model.cluster.objects import (
    Object,
    get_list,
    get_mapping,
    get_text,
    running_containers,
)
from sidecar.errors import TargetError
from sidecar.model.targets import (
    MAX_TARGETS,
    RawTarget,
    Target,
    check_path,
    parse_port,
    parse_raw_target,
    split_targets,
)


class FoundTargets(NamedTuple):
    """The targets that can be scraped, and what is wrong with the others."""

    targets: tuple[Target, ...]
    warnings: tuple[AdmissionWarning, ...]


def find_targets(
    pod: Object, annotations: Mapping[str, str], scrape: Mapping[str, str]
) -> FoundTargets:
    """Return a pod's targets.

    Args:
        pod: the raw pod.
        annotations: its annotations.
        scrape: what its `prometheus.io/…` annotations say.
    """
    if TARGETS not in annotations and not _port_of(scrape):
        guessed = _guess(pod, scrape)
        if guessed is not None:
            return guessed
    targets: list[Target] = []
    warnings: list[AdmissionWarning] = []
    try:
        readers = _readers(annotations.get(TARGETS), scrape)
    except TargetError as error:
        return FoundTargets((), (_warn(str(error)),))
    for read in readers:
        try:
            target = _resolve(pod, read())
        except TargetError as error:
            warnings.append(_warn(str(error)))
        else:
            targets.append(target._replace(name=_free_name(target, targets)))
    return FoundTargets(tuple(targets), tuple(warnings))


def declared_ports(pod: Object) -> set[int]:
    """Every port number that a container of the pod declares."""
    spec = get_mapping(pod, "spec")
    containers = get_list(spec, "containers", "spec") + get_list(spec, "initContainers", "spec")
    return {
        port["containerPort"]
        for container in containers
        for port in get_list(container, "ports", "spec.containers[]")
        if isinstance(port.get("containerPort"), int)
    }


def _warn(text: str) -> AdmissionWarning:
    return AdmissionWarning(WarningCode.BAD_TARGET, f"target left out: {text}")


def _readers(listed: str | None, scrape: Mapping[str, str]) -> list[Callable[[], RawTarget]]:
    """Return what reads each target, so that one that is wrong costs no other."""
    if listed is None:
        return [partial(_read_annotations, scrape)]
    parts = split_targets(listed)
    if not parts:
        raise TargetError(f"{TARGETS} names none")
    return [partial(parse_raw_target, part) for part in parts]


def _port_of(scrape: Mapping[str, str]) -> str:
    return (scrape.get("port") or "").strip()


def _guess(pod: Object, scrape: Mapping[str, str]) -> FoundTargets | None:
    """Take the declared ports; None where there is none, or the annotations are wrong."""
    ports = _scraped_ports(pod)
    named = [port for port in ports if _is_for_metrics(port.name)]
    chosen: dict[int, _Port] = {}
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


class _Port(NamedTuple):
    container: str
    name: str
    number: int


def _scraped_ports(pod: Object) -> list[_Port]:
    """The TCP ports that Prometheus finds, a mesh's left out."""
    return [
        _Port(name, get_text(port, "name", "spec.containers[].ports[]"), port["containerPort"])
        for container in running_containers(pod)
        if (name := get_text(container, "name", "spec.containers[]")) not in MESH_CONTAINERS
        for port in get_list(container, "ports", "spec.containers[]")
        if port.get("protocol") in (None, "", "TCP") and _is_port(port.get("containerPort"))
    ]


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _is_for_metrics(name: str) -> bool:
    return name in ("metrics", "http-metrics") or name.startswith("prom")


def _warn_of_guess(targets: Sequence[Target], count: int) -> AdmissionWarning:
    shown = ", ".join(str(target.port) for target in targets)
    left = f" and not the other {count - len(targets)}" if count > len(targets) else ""
    text = f"no annotation names a port: {shown} are scraped{left}; set prometheus.io/port"
    return AdmissionWarning(WarningCode.GUESSED_TARGETS, text)


def _read_annotations(scrape: Mapping[str, str]) -> RawTarget:
    # An empty value is what templates leave of an unset one; Prometheus passes over it, too.
    scheme = (scrape.get("scheme") or "").strip().lower() or "http"
    path = (scrape.get("path") or "").strip()
    if path and not path.startswith("/"):
        path = f"/{path}"  # as Prometheus joins it to the address
    if scheme not in ("http", "https"):
        raise TargetError(f"scheme {scheme[:40]!r} is neither http nor https")
    return RawTarget("", scheme, "", _port_of(scrape) or "80", check_path(path))


def _free_name(target: Target, others: Sequence[Target]) -> str:
    """Tell apart targets of one container: their names become a label, which must differ."""
    taken = {other.name for other in others}
    name, number = target.name, 1
    while name in taken:
        suffix = f"-{target.port}" if number == 1 else f"-{target.port}-{number}"
        name, number = f"{target.name[:50]}{suffix}", number + 1
    return name


def _resolve(pod: Object, raw: RawTarget) -> Target:
    if raw.host:
        raise TargetError(f"{raw.host[:80]!r}: a target has no host, it is the pod itself")
    containers = list(running_containers(pod))
    names = [get_text(container, "name", "spec.containers[]") for container in containers]
    if raw.name and raw.name not in names:
        raise TargetError(f"the pod has no container {raw.name!r}")
    wanted = [c for c in containers if not raw.name or c.get("name") == raw.name]
    port, owner = _find_port(wanted, raw.port)
    name = raw.name or owner or (names[0] if names else "")
    return Target(name, raw.scheme, "", port, raw.path)


def _find_port(containers: list[Object], port: str) -> tuple[int, str]:
    """Return the port's number and the name of the container that declares it, if any."""
    if port.isascii() and port.isdigit():
        number = parse_port(port)
        return number, _owner(containers, "containerPort", number)
    for container in containers:
        for declared in get_list(container, "ports", "spec.containers[]"):
            if declared.get("name") == port:
                found = parse_port(str(declared.get("containerPort")))
                return found, str(container.get("name", ""))
    raise TargetError(f"no container declares a port named {port[:40]!r}")


def _owner(containers: list[Object], field: str, value: Any) -> str:
    for container in containers:
        for declared in get_list(container, "ports", "spec.containers[]"):
            if declared.get(field) == value:
                return str(container.get("name", ""))
    return ""
