"""Where a pod's metrics are, as its annotations say, with named ports resolved."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from injector.model.admission.outcomes import AdmissionWarning, WarningCode
from injector.model.cluster.names import TARGETS
from injector.model.cluster.objects import (
    Object,
    get_list,
    get_mapping,
    get_text,
    running_containers,
)
from sidecar.errors import TargetError
from sidecar.model.targets import (
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


def _read_annotations(scrape: Mapping[str, str]) -> RawTarget:
    # An empty value is what templates leave of an unset one; Prometheus passes over it, too.
    scheme = (scrape.get("scheme") or "http").lower()
    path = (scrape.get("path") or "").strip()
    if path and not path.startswith("/"):
        path = f"/{path}"  # as Prometheus joins it to the address
    if scheme not in ("http", "https"):
        raise TargetError(f"scheme {scheme[:40]!r} is neither http nor https")
    port = (scrape.get("port") or "").strip() or "80"
    return RawTarget("", scheme, "", port, check_path(path))


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
