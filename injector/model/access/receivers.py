"""Reads the target of an object's `remoteWrite` into receivers that a proxy can send to."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from injector.errors import ObjectError
from injector.model.access.metricaccess import MetricAccess, RemoteWrite, TargetType
from injector.model.cluster.objects import Object, get_mapping, get_strings, get_text
from injector.platform.settings import Platform
from sidecar.errors import RuleError, show
from sidecar.model.hosts import bracket
from sidecar.model.policy.forward import check_header

WRITE_PORT, PUSH_PORT = 9090, 9091
WRITE_PATH = "/api/v1/write"
MAX_REPLICAS = 32
_PATH = "spec.remoteWrite.target"
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_STATEFUL_SET = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
_SECRET = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PORTS = {"http": 80, "https": 443}


class SecretKey(NamedTuple):
    """A key of a Secret in the object's namespace."""

    name: str
    key: str

    def __str__(self) -> str:
        """Return the credential's name in a policy."""
        return f"{self.name}/{self.key}"


class Receivers(NamedTuple):
    """Where an object's samples are sent."""

    addresses: tuple[Mapping[str, Any], ...]
    """In the format of a policy."""
    origin: str
    """Origin of a URL, which a Secret must name; empty for Services.

    `metrics.example.com` for TLS on port 443, `metrics.example.com:8443` for TLS on another port,
    `http://metrics.example.com` without TLS.
    """
    secrets: tuple[SecretKey, ...]
    """The keys of Secrets that the receivers require."""


def read_receivers(access: MetricAccess, remote: RemoteWrite, platform: Platform) -> Receivers:
    """Read an object's target.

    Raises:
        ObjectError: the target is invalid; names the field.
    """
    if remote.target_type is TargetType.REMOTE_WRITE:
        return _read_url(access, remote.target, platform)
    if remote.target_type is TargetType.PUSHGATEWAY:
        return Receivers((_read_pushgateway(access, remote.target, platform),), "", ())
    return Receivers(tuple(_replicas(access, remote.target, platform)), "", ())


def _replicas(
    access: MetricAccess, block: Object, platform: Platform
) -> Iterator[Mapping[str, Any]]:
    path = f"{_PATH}.prometheus"
    host = _service(access, block, path, platform)
    shared = {"port": _port(block, path, WRITE_PORT), "path": WRITE_PATH, "isService": True}
    replicas = block.get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas > MAX_REPLICAS:
        raise ObjectError(f"{path}.replicas", f"must be a number up to {MAX_REPLICAS}")
    if not block.get("statefulSetName"):
        if replicas > 1:
            reason = "required with several replicas: each is reached by its pod's name"
            raise ObjectError(f"{path}.statefulSetName", reason)
        yield {"host": host, **shared}
        return
    replicas = max(1, replicas)
    # Replicas do not share data, so each must be sent everything.
    name = get_text(block, "statefulSetName", path)
    if _STATEFUL_SET.fullmatch(name) is None:
        raise ObjectError(f"{path}.statefulSetName", f"{show(name)} is not a StatefulSet name")
    for index in range(replicas):
        yield {"host": f"{name}-{index}.{host}", **shared}


def _read_pushgateway(access: MetricAccess, block: Object, platform: Platform) -> Mapping[str, Any]:
    path = f"{_PATH}.pushgateway"
    return {
        "kind": "push",
        "host": _service(access, block, path, platform),
        "port": _port(block, path, PUSH_PORT),
        "path": "",
        "isService": True,
        "jobName": get_text(block, "jobName", path),
        "deletesOnShutdown": block.get("deleteOnShutdown") is True,
    }


def _read_url(access: MetricAccess, block: Object, platform: Platform) -> Receivers:
    path = f"{_PATH}.remoteWrite"
    url = get_text(block, "url", path)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_odd = "@" in parts.netloc or parts.fragment or port == 0
    if parts.scheme not in _PORTS or not host or is_odd:
        raise ObjectError(f"{path}.url", "must be http://host/path or https://host/path")
    target = parts.path or "/"
    address: dict[str, Any] = {
        "host": host,
        "port": port or _PORTS[parts.scheme],
        "path": f"{target}?{parts.query}" if parts.query else target,
        "isService": is_own_service(host, access.namespace, platform.remote_write.cluster_domain),
        "headers": _headers(block, path),
    }
    secrets: list[SecretKey] = []
    _read_authorization(block, path, address, secrets)
    tls = get_mapping(block, "tlsConfig", path)
    if secrets and tls.get("insecureSkipVerify") and platform.remote_write.requires_secret_consent:
        reason = "not allowed with Secrets, which could be intercepted: set caSecret instead"
        raise ObjectError(f"{path}.tlsConfig.insecureSkipVerify", reason)
    name = get_text(tls, "serverName", f"{path}.tlsConfig").lower()
    if secrets and name not in ("", host) and platform.remote_write.requires_secret_consent:
        reason = f"the Secret may be sent to {host} only, not to a server certified as {name}"
        raise ObjectError(f"{path}.tlsConfig.serverName", reason)
    if parts.scheme == "https":
        address["tls"] = _read_tls(tls, f"{path}.tlsConfig", secrets)
    elif tls:
        raise ObjectError(f"{path}.tlsConfig", "has no effect with http: use https or remove it")
    return Receivers((address,), _origin(parts.scheme, host, address["port"]), tuple(secrets))


def _origin(scheme: str, host: str, port: int) -> str:
    name = bracket(host.lower())
    behind = "" if port == _PORTS[scheme] else f":{port}"
    return f"{name}{behind}" if scheme == "https" else f"http://{name}{behind}"


def secrets_of(access: MetricAccess) -> frozenset[str]:
    """Return the names of the Secrets that an object references; empty if one is invalid."""
    remote = access.remote_write
    if remote is None or not remote.enabled or remote.target_type is not TargetType.REMOTE_WRITE:
        return frozenset()
    secrets: list[SecretKey] = []
    try:
        _read_authorization(remote.target, _PATH, {"headers": {}}, secrets)
        _read_tls(get_mapping(remote.target, "tlsConfig"), _PATH, secrets)
    except ObjectError:
        return frozenset()
    return frozenset(secret.name for secret in secrets)


def is_own_service(host: str, namespace: str, domain: str) -> bool:
    """Return whether a host is a Service of a namespace, by its name in the cluster's DNS."""
    name = host.lower().rstrip(".")
    return name.endswith((f".{namespace}.svc", f".{namespace}.svc.{domain}"))


def _headers(block: Object, path: str) -> Mapping[str, str]:
    headers = dict(get_strings(block, "headers", path))
    for name, value in headers.items():
        try:
            check_header(name, value, f"{path}.headers")
        except RuleError as error:
            raise ObjectError(error.field, error.reason) from error
    return headers


def _read_authorization(
    block: Object, path: str, address: dict[str, Any], secrets: list[SecretKey]
) -> None:
    basic = get_mapping(block, "basicAuth", path)
    token = get_mapping(block, "bearerTokenSecret", path)
    if basic and token:
        reason = "must not be set together with basicAuth"
        raise ObjectError(f"{path}.bearerTokenSecret", reason)
    names = {name.lower() for name in address["headers"]}
    if (basic or token) and "authorization" in names:
        raise ObjectError(f"{path}.headers", "must not set Authorization: the Secret sets it")
    if basic:
        named = get_mapping(basic, "passwordSecret", f"{path}.basicAuth")
        key = _read_secret(named, f"{path}.basicAuth.passwordSecret", secrets)
        username = get_text(basic, "username", f"{path}.basicAuth")
        if ":" in username:
            raise ObjectError(f"{path}.basicAuth.username", "must not contain a colon")
        address["basicAuth"] = {"username": username, "password": key}
    if token:
        address["bearerToken"] = _read_secret(token, f"{path}.bearerTokenSecret", secrets)


def _read_tls(block: Object, path: str, secrets: list[SecretKey]) -> Mapping[str, Any]:
    tls: dict[str, Any] = {
        "serverName": get_text(block, "serverName", path),
        "skipsVerification": block.get("insecureSkipVerify") is True,
    }
    for field, name in (("caSecret", "ca"), ("certSecret", "certificate"), ("keySecret", "key")):
        reference = get_mapping(block, field, path)
        if reference:
            tls[name] = _read_secret(reference, f"{path}.{field}", secrets)
    if ("certificate" in tls) is not ("key" in tls):
        raise ObjectError(path, "certSecret and keySecret must be set together")
    return tls


def _read_secret(reference: Object, path: str, secrets: list[SecretKey]) -> str:
    name, key = get_text(reference, "name", path), get_text(reference, "key", path)
    if _SECRET.fullmatch(name) is None or _KEY.fullmatch(key) is None:
        raise ObjectError(path, "a valid Secret name and key are required")
    secrets.append(SecretKey(name, key))
    return str(secrets[-1])


def _service(access: MetricAccess, block: Object, path: str, platform: Platform) -> str:
    name = get_text(block, "serviceName", path)
    if _LABEL.fullmatch(name) is None:
        raise ObjectError(f"{path}.serviceName", f"{show(name)} is not a valid Service name")
    return f"{name}.{access.namespace}.svc.{platform.remote_write.cluster_domain}"


def _port(block: Object, path: str, default: int) -> int:
    port = block.get("servicePort") or default
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise ObjectError(f"{path}.servicePort", "must be a port from 1 to 65535")
    return port
