"""Maps the configuration file of prometheus-multi-tenant-proxy to Livery's settings."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.errors import DocumentError, SettingsError
from sidecar.model.fields import Fields
from sidecar.model.pods.durations import parse_duration
from sidecar.process.arguments import read_port
from sidecar.process.documents import read_document

MAX_BYTES = 1 << 20
_KINDS = {"Pod": "Pod", "Service": "Service", "Endpoints": "EndpointSlice"}
_DISCOVERED = "gateway.backends.discovery"
_WATCHED = "the injector watches Kubernetes; there is nothing to refresh"
_UNCACHED = "responses are not cached; identical concurrent requests are coalesced"
_ALWAYS = "fixed: at most four concurrent requests to a receiver, and 30 s for each"


class _Key(NamedTuple):
    """The equivalent of a key."""

    chart: str = ""
    """Path of the chart's value; empty for none."""
    argument: str = ""
    """Name of the gateway's argument; empty for none."""
    reason: str = ""
    """Why there is no chart value, as a sentence."""


_KEYS = {
    "discovery.kubernetes.namespaces": _Key(_DISCOVERED),
    "discovery.kubernetes.label_selectors": _Key(_DISCOVERED),
    "discovery.kubernetes.annotation_selectors": _Key(_DISCOVERED),
    "discovery.kubernetes.port": _Key(_DISCOVERED),
    "discovery.kubernetes.resource_types": _Key(_DISCOVERED),
    "discovery.kubernetes.refresh_interval": _Key(reason=_WATCHED),
    "tenants.watch_all_namespaces": _Key(
        reason="objects of all namespaces are used, each for its own namespace"
    ),
    "tenants.refresh_interval": _Key(reason=_WATCHED),
    "proxy.listen_address": _Key(
        argument="port", reason="the Service's port is 8080; without the chart, --port {}"
    ),
    "proxy.enable_caching": _Key(reason=_UNCACHED),
    "proxy.cache_ttl": _Key(reason=_UNCACHED),
    "proxy.enable_metrics": _Key(reason="metrics are always served, on the admin port 8081"),
    "proxy.enable_request_logging": _Key("gateway.logLevel", "log_level"),
    "proxy.max_concurrent_requests": _Key(
        "gateway.limits.maxConcurrentRequests", "max_concurrent_requests"
    ),
    "proxy.backend_timeout": _Key("gateway.backends.timeoutSeconds", "backend_timeout"),
    "remote_write.enabled": _Key(
        reason="each object enables it; to collect from Prometheus as before, set "
        "remoteWrite.collector.enabled=true,remoteWrite.collect=prometheus"
    ),
    "remote_write.collection_interval": _Key(reason="each object is collected at its own interval"),
    "remote_write.default_interval": _Key(reason="30s for objects without an interval"),
    "remote_write.max_concurrent_jobs": _Key(reason=_ALWAYS),
    "remote_write.timeout": _Key(reason=_ALWAYS),
    "remote_write.batch_size": _Key(reason="a request has at most 1000 series"),
}


class Equal(NamedTuple):
    """The equivalent of a key of the file."""

    key: str
    chart: str
    """Path of a chart's value; empty for none."""
    value: object
    """The chart's value, or why there is none, as a sentence."""


class CompatibleConfig(NamedTuple):
    """A parsed file."""

    equals: tuple[Equal, ...]
    discovery: tuple[Mapping[str, Any], ...]
    """How backends are discovered, in the form of the chart's `gateway.backends.discovery`."""
    defaults: Mapping[str, str]
    """Defaults of the gateway's arguments, by name."""


def read_config(path: Path) -> CompatibleConfig:
    """Read a file.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown or invalid; names the key.
    """
    try:
        document = Fields(read_document(path, MAX_BYTES), "", _wrong)
        given = [*_given(document)]
        discovery = _discovery(document.at("discovery").at("kubernetes"))
        defaults = dict(_defaults(document.at("proxy")))
        equals = tuple(_equals(given, defaults))
    except (DocumentError, SettingsError) as error:
        text = str(error)
        raise SettingsError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    return CompatibleConfig(equals, discovery, defaults)


def _given(block: Fields) -> Iterator[str]:
    """Yield the paths of the keys that a file has."""
    before = f"{block.path}." if block.path else ""
    below = [path.removeprefix(before) for path in _KEYS if path.startswith(before)]
    block.refuse_unknown({path.partition(".")[0] for path in below}, "a supported key")
    for key in block.value:
        if f"{before}{key}" in _KEYS:
            yield f"{before}{key}"
        else:
            yield from _given(block.at(key))


def _discovery(block: Fields) -> tuple[Mapping[str, Any], ...]:
    entry: dict[str, Any] = {}
    namespaces = block.strings("namespaces")
    if namespaces:
        entry["namespaces"] = list(namespaces)
    labels = block.string_map("label_selectors")
    if labels:
        entry["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    annotations = block.string_map("annotation_selectors")
    if annotations:
        entry["annotations"] = annotations
    port = block.value.get("port")
    if port is not None:
        entry["port"] = str(port) if isinstance(port, int) else block.text("port")
    kinds = block.strings("resource_types") or (("Service",) if entry else ())
    for kind in kinds:
        if kind not in _KINDS:
            raise _wrong(block.name("resource_types"), f"{kind[:40]!r} is none of {_or(_KINDS)}")
    return tuple({"kind": _KINDS[kind], **entry} for kind in kinds)


def _defaults(proxy: Fields) -> Iterator[tuple[str, str]]:
    """Yield defaults of the gateway's arguments."""
    address = proxy.text("listen_address")
    if address:
        port = read_port(address.rpartition(":")[2])
        if port is None:
            raise _wrong("proxy.listen_address", f"{address[:60]!r} has no port")
        yield "port", str(port)
    count = proxy.value.get("max_concurrent_requests")
    if count is not None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise _wrong("proxy.max_concurrent_requests", "an integer from 1 is needed")
        yield "max_concurrent_requests", str(count)
    timeout = proxy.text("backend_timeout")
    if timeout:
        seconds = parse_duration(timeout)
        if not seconds:
            raise _wrong("proxy.backend_timeout", f"{timeout[:40]!r} is not a duration such as 30s")
        yield "backend_timeout", f"{seconds:g}"
    if proxy.value.get("enable_request_logging") is not None:
        yield "log_level", "info" if proxy.flag("enable_request_logging") else "warning"


def _equals(given: Iterable[str], defaults: Mapping[str, str]) -> Iterator[Equal]:
    """Yield the equivalent of each key, except those that `_discovery` reads together."""
    for path in given:
        key = _KEYS[path]
        value = defaults.get(key.argument, "")
        if key.reason:
            yield Equal(path, "", key.reason.format(value))
        elif key.argument:
            yield Equal(path, key.chart, int(value) if value.isdigit() else value)


def _or(names: Mapping[str, str]) -> str:
    return ", ".join(names)


def _wrong(path: str, reason: str) -> SettingsError:
    return SettingsError(f"{path}: {reason}" if path else reason)
