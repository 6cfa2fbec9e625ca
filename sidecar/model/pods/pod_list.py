"""The pods of a node, as its kubelet lists them at `/pods`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.errors import PodsError, show
from sidecar.model.fields import Fields, read_string_map

MAX_PORTS = 1_000
"""Per pod; further ports are dropped, because each is a target with all labels of the pod."""
MAX_ANNOTATION_CHARACTERS = 32 << 10
"""Total of one pod's annotations."""


class Port(NamedTuple):
    """A port that a container declares."""

    name: str
    number: int
    protocol: str


class Container(NamedTuple):
    """A container, ordinary or init."""

    name: str
    image: str
    id: str
    """`<runtime>://<id>`; empty before the container is created."""
    is_init: bool
    ports: tuple[Port, ...]


class Pod(NamedTuple):
    """What Livery reads of a pod."""

    namespace: str
    name: str
    uid: str
    ip: str
    host_ip: str
    node: str
    phase: str
    ready: str
    """`true`, `false`, or `unknown` before the kubelet has reported it."""
    controller_kind: str
    controller_name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[Container, ...]
    """The ordinary containers, then the init containers."""
    created: str = ""
    """Creation time, as the kubelet writes it; such texts sort by time."""
    ephemeral_containers: tuple[Container, ...] = ()
    """Debug containers: they have cgroups but are not targets."""


def parse_pod(item: object, path: str) -> Pod:
    """Read a pod from parsed JSON; `path` names it in errors.

    Raises:
        PodsError: a field has the wrong type; names it.
    """
    return _read_pod(Fields(item, path, _wrong))


def bound_annotations(pod: Pod) -> Pod:
    """Drop annotations beyond the limit: those of one tenant may take megabytes."""
    room, kept = MAX_ANNOTATION_CHARACTERS, {}
    for key, value in pod.annotations.items():
        if len(key) + len(value) <= room:
            kept[key] = value
            room -= len(key) + len(value)
    return pod if len(kept) == len(pod.annotations) else pod._replace(annotations=kept)


def _wrong(path: str, reason: str) -> PodsError:
    return PodsError(f"{path}: {reason}")


def _text(fields: Fields, key: str) -> str:
    return _whole(fields.text(key))


def _texts(fields: Fields, key: str) -> dict[str, str]:
    path = fields.name(key)
    found = read_string_map(fields.value.get(key), path, _wrong, null_is_empty=True)
    return {_whole(name): _whole(text) for name, text in found.items()}


def _number(fields: Fields, key: str) -> int:
    value = fields.value.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(fields.name(key), f"a number is needed, not {show(value)}")
    return value


def _whole(text: str) -> str:
    """Replace lone surrogates by U+FFFD, as Go does: they cannot be encoded as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_pod(item: Fields) -> Pod:
    metadata, spec, status = item.at("metadata"), item.at("spec"), item.at("status")
    owners = [
        owner for owner in metadata.each("ownerReferences") if owner.value.get("controller") is True
    ]
    containers = (
        *_read_containers(spec, status, "containers"),
        *_read_containers(spec, status, "initContainers"),
    )
    ready = [
        _text(said, "status")
        for said in status.each("conditions")
        if _text(said, "type") == "Ready"
    ]
    return Pod(
        namespace=_text(metadata, "namespace"),
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        ip=_text(status, "podIP"),
        host_ip=_text(status, "hostIP"),
        node=_text(spec, "nodeName"),
        phase=_text(status, "phase"),
        ready=ready[0].lower() if ready else "unknown",
        controller_kind=_text(owners[0], "kind") if owners else "",
        controller_name=_text(owners[0], "name") if owners else "",
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
        containers=_bounded(containers),
        created=_text(metadata, "creationTimestamp"),
        ephemeral_containers=_bounded(tuple(_read_containers(spec, status, "ephemeralContainers"))),
    )


def _bounded(containers: tuple[Container, ...]) -> tuple[Container, ...]:
    room, kept = MAX_PORTS, []
    for container in containers[:MAX_PORTS]:
        kept.append(container._replace(ports=container.ports[:room]))
        room -= len(kept[-1].ports)
    return tuple(kept)


def _read_containers(spec: Fields, status: Fields, field: str) -> Iterator[Container]:
    is_init = field == "initContainers"
    said = status.each(f"{field.removesuffix('s')}Statuses")
    ids = {_text(one, "name"): _text(one, "containerID") for one in said}
    for container in spec.each(field):
        name = _text(container, "name")
        ports = tuple(
            Port(
                _text(port, "name"),
                _number(port, "containerPort"),
                _text(port, "protocol") or "TCP",
            )
            for port in container.each("ports")
        )
        yield Container(name, _text(container, "image"), ids.get(name, ""), is_init, ports)
