"""The proxy's resources in one pod, from defaults, annotations, QoS class and LimitRanges."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from injector.model.admission.outcomes import AdmissionWarning, WarningCode
from injector.model.admission.quantities import parse_quantity, render_quantity
from injector.model.cluster.names import RESOURCES
from injector.model.cluster.objects import Object, get_list, get_mapping
from injector.platform.settings import DEFAULT_RESOURCES

EPHEMERAL_STORAGE_BYTES = 64 << 20
"""For the proxy's log, if a LimitRange requires every container to set this resource."""
Amounts = dict[str, Fraction]

_SENSIBLE = {
    "cpu": (Fraction(1, 1000), Fraction(256)),
    "memory": (Fraction(24 << 20), Fraction(1 << 40)),
}
"""Plausible ranges: `128m` of memory, for example, is an eighth of a byte."""


class Allotment(NamedTuple):
    """The proxy's `resources` field; None leaves the field out.

    `is_possible` is false if no amounts fit the namespace's LimitRange.
    """

    resources: dict[str, dict[str, str]] | None
    warnings: tuple[AdmissionWarning, ...]
    is_possible: bool = True


def allot_resources(
    pod: Object,
    annotations: Mapping[str, str],
    limit_ranges: Sequence[Object],
    *,
    defaults: Mapping[str, Mapping[str, str]] = DEFAULT_RESOURCES,
    extra_memory_bytes: int = 0,
) -> Allotment:
    """Decide the proxy's requests and limits.

    Args:
        pod: the raw pod.
        annotations: its annotations.
        limit_ranges: the raw LimitRanges of its namespace.
        defaults: requests and limits if no annotation sets them.
        extra_memory_bytes: added to the default memory limit.
    """
    spec = get_mapping(pod, "spec")
    items = [item for limit_range in limit_ranges for item in _items(limit_range)]
    if spec.get("resources"):
        # With pod-level resources the pod's total is fixed: amounts for the proxy would reduce the
        # application's share by a number that nobody chose.
        others = _others(items)
        is_possible = others is not None and _leaves_room(spec, items)
        fits = is_possible and _fits_pod(spec, others or {}, others or {}, items)
        rendered = _render(others, others) if others else None
        return Allotment(rendered, _warn_of_pod(annotations, extra_memory_bytes), is_possible=fits)
    warnings: list[AdmissionWarning] = []
    requests, limits = _wanted(annotations, warnings, _with_memory(defaults, extra_memory_bytes))
    is_guaranteed = _is_guaranteed(spec)
    if is_guaranteed:
        requests = dict(limits)
    clamped, others = _clamp(requests, limits, items, is_guaranteed=is_guaranteed), _others(items)
    if clamped is None or others is None:
        return Allotment(None, tuple(warnings), is_possible=False)
    if not _fits_pod(spec, clamped[0] | others, clamped[1] | others, items):
        return Allotment(None, tuple(warnings), is_possible=False)
    if clamped != (requests, limits):
        text = "the proxy's resources were adjusted to the namespace's LimitRange"
        warnings.append(AdmissionWarning(WarningCode.CLAMPED, text))
    requests, limits = clamped
    return Allotment(_render(requests | others, limits | others), tuple(warnings))


def _warn_of_pod(
    annotations: Mapping[str, str], extra_memory_bytes: int
) -> tuple[AdmissionWarning, ...]:
    said = [key for key in RESOURCES.values() if key in annotations]
    if extra_memory_bytes:
        said.append("a raised limit")
    if not said:
        return ()
    text = f"the pod has pod-level resources: {', '.join(said)} gives the proxy none of its own"
    return (AdmissionWarning(WarningCode.POD_RESOURCES, text),)


def _render(requests: Amounts, limits: Amounts) -> dict[str, dict[str, str]]:
    return {
        "requests": {name: render_quantity(value, name) for name, value in requests.items()},
        "limits": {name: render_quantity(value, name) for name, value in limits.items()},
    }


def _with_memory(defaults: Mapping[str, Mapping[str, str]], extra_bytes: int) -> dict[str, Amounts]:
    amounts = {kind: _amounts(values) for kind, values in defaults.items()}
    amounts["limits"]["memory"] += extra_bytes
    return amounts


def _wanted(
    annotations: Mapping[str, str], warnings: list[AdmissionWarning], amounts: dict[str, Amounts]
) -> tuple[Amounts, Amounts]:
    given: set[tuple[str, str]] = set()
    for (kind, name), key in RESOURCES.items():
        if key not in annotations:
            continue
        value = parse_quantity(annotations[key])
        least, most = _SENSIBLE[name]
        if value is None or not least <= value <= most:
            shown = annotations[key][:40]
            text = f"{key}: {shown!r} is not an amount that a proxy can run with; using the default"
            warnings.append(AdmissionWarning(WarningCode.BAD_QUANTITY, text))
            continue
        amounts[kind][name] = value
        given.add((kind, name))
    for name in ("cpu", "memory"):
        _order(name, amounts, given, warnings)
    return amounts["requests"], amounts["limits"]


def _order(
    name: str,
    amounts: dict[str, Amounts],
    given: set[tuple[str, str]],
    warnings: list[AdmissionWarning],
) -> None:
    """Keep the request within the limit; otherwise the API server would refuse the pod."""
    request, limit = amounts["requests"][name], amounts["limits"][name]
    if request <= limit:
        return
    if ("limits", name) not in given:
        amounts["limits"][name] = request
    elif ("requests", name) not in given:
        amounts["requests"][name] = limit
    else:
        text = f"the {name} request is above the {name} limit; the limit is used for both"
        warnings.append(AdmissionWarning(WarningCode.BAD_QUANTITY, text))
        amounts["requests"][name] = limit


def _is_guaranteed(spec: Object) -> bool:
    containers = get_list(spec, "containers", "spec") + get_list(spec, "initContainers", "spec")
    for container in containers:
        resources = get_mapping(container, "resources", "spec.containers[]")
        limits = get_mapping(resources, "limits", "resources")
        requests = get_mapping(resources, "requests", "resources")
        for name in ("cpu", "memory"):
            limit = parse_quantity(limits.get(name))
            if not limit or parse_quantity(requests.get(name, limits[name])) != limit:
                return False
    return bool(containers)


class _Item(NamedTuple):
    """One entry of a LimitRange."""

    kind: str
    minimum: Amounts
    maximum: Amounts
    ratio: Amounts
    default: Amounts
    """What the API server requests for a container without resources."""

    @property
    def names(self) -> set[str]:
        """The resources that the entry mentions."""
        return {*self.minimum, *self.maximum, *self.ratio, *self.default}


def _items(limit_range: Object) -> Iterator[_Item]:
    spec = get_mapping(limit_range, "spec")
    for item in get_list(spec, "limits", "spec"):
        yield _Item(
            str(item.get("type", "")),
            _amounts(get_mapping(item, "min")),
            _amounts(get_mapping(item, "max")),
            _amounts(get_mapping(item, "maxLimitRequestRatio")),
            {
                **_amounts(get_mapping(item, "default")),
                **_amounts(get_mapping(item, "defaultRequest")),
            },
        )


def _amounts(values: Object) -> Amounts:
    parsed = {name: parse_quantity(value) for name, value in values.items()}
    return {name: value for name, value in parsed.items() if value is not None}


def _clamp(
    requests: Amounts, limits: Amounts, items: Sequence[_Item], *, is_guaranteed: bool
) -> tuple[Amounts, Amounts] | None:
    """Return both, adjusted to every `Container` entry; None if nothing fits."""
    requests, limits = dict(requests), dict(limits)
    for name in ("cpu", "memory"):
        bounds = [item for item in items if item.kind == "Container"]
        least = max([item.minimum.get(name, Fraction(0)) for item in bounds], default=Fraction(0))
        most = min([item.maximum[name] for item in bounds if name in item.maximum], default=None)
        ratio = min([item.ratio[name] for item in bounds if name in item.ratio], default=None)
        if most is not None and least > most:
            return None
        limits[name] = max(least, limits[name] if most is None else min(limits[name], most))
        requests[name] = max(least, min(requests[name], limits[name]))
        if is_guaranteed:
            requests[name] = limits[name]
        if ratio is not None and limits[name] > requests[name] * ratio:
            if ratio < 1:
                return None
            requests[name] = limits[name] / ratio
    return requests, limits


def _others(items: Sequence[_Item]) -> Amounts | None:
    """Return the proxy's amounts of resources in `Container` entries other than CPU and memory.

    Request and limit are equal, so that every ratio holds. None if nothing fits, or if the proxy
    would have to take a resource that it has no use for.
    """
    bounds = [item for item in items if item.kind == "Container"]
    found: Amounts = {}
    for name in sorted({name for item in bounds for name in item.names} - {"cpu", "memory"}):
        wanted = Fraction(EPHEMERAL_STORAGE_BYTES if name == "ephemeral-storage" else 0)
        least = max(item.minimum.get(name, Fraction(0)) for item in bounds)
        most = min([item.maximum[name] for item in bounds if name in item.maximum], default=None)
        ratio = min([item.ratio[name] for item in bounds if name in item.ratio], default=None)
        amount = max(least, wanted if most is None else min(wanted, most))
        must_take = bool(least) or ratio is not None
        if (most is not None and amount > most) or (must_take and not (wanted and amount)):
            return None
        if ratio is not None and ratio < 1:
            return None
        found[name] = amount
    return found


def _fits_pod(spec: Object, requests: Amounts, limits: Amounts, items: Sequence[_Item]) -> bool:
    """Return whether the pod's total including the proxy fits every `Pod` entry."""
    for item in items:
        if item.kind != "Pod":
            continue
        for name, least in item.minimum.items():
            # A pod without limits passes; with the proxy's limit alone it may be below the minimum.
            if name in limits and _peak(spec, "limits", name) + limits[name] < least:
                return False
        for name, most in item.maximum.items():
            if name in limits and _peak(spec, "limits", name) + limits[name] > most:
                return False
        for name in item.ratio.keys() & limits.keys():
            total = _peak(spec, "requests", name) + requests[name]
            if _peak(spec, "limits", name) + limits[name] > total * item.ratio[name]:
                return False
    return True


def _leaves_room(spec: Object, items: Sequence[_Item]) -> bool:
    """Return whether the API server's default requests for the proxy fit pod-level resources."""
    whole = get_mapping(spec, "resources", "spec")
    for name in ("cpu", "memory"):
        defaults = [item.default[name] for item in items if name in item.default]
        # If only limits are set, they are also the requests.
        most = next(filter(None, (_amount({"resources": whole}, kind, name)
                                  for kind in ("requests", "limits"))), None)  # fmt: skip
        # If neither is set, the API server uses the containers' sum without the proxy.
        if defaults and (not most or _peak(spec, "requests", name) + max(defaults) > most):
            return False
    return True


def _peak(spec: Object, kind: str, name: str) -> Fraction:
    """Return the pod's peak amount as the scheduler computes it, including native sidecars.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    sidecars = starting = Fraction(0)
    for container in get_list(spec, "initContainers", "spec"):
        amount = _amount(container, kind, name)
        if container.get("restartPolicy") == "Always":
            sidecars += amount
        else:
            starting = max(starting, sidecars + amount)
    running = sum(_amount(item, kind, name) for item in get_list(spec, "containers", "spec"))
    return max(starting, sidecars + running)


def _amount(container: Object, kind: str, name: str) -> Fraction:
    resources = get_mapping(container, "resources", "spec.containers[]")
    amounts = get_mapping(resources, kind, "resources")
    return parse_quantity(amounts.get(name)) or Fraction(0)
