"""What `livery-proxy --role gateway` is told, by arguments."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.settings import ControlSettings, read_control
from sidecar.errors import SettingsError, UpstreamError
from sidecar.gateway.backends.backend import Backend, BackendSettings, read_authorization
from sidecar.gateway.callers.trusted import Network, read_sources
from sidecar.gateway.limit_settings import LEAST, AllLimits, read_limits
from sidecar.gateway.limits import TenantLimits
from sidecar.gateway.tenants import HEADER
from sidecar.model.promql.parser import MAX_QUERY_BYTES
from sidecar.process.arguments import Parser, read_port
from sidecar.process.logs import LEVELS

DEFAULT_PORT = 8080
DEFAULT_ADMIN_PORT = 8081
EXAMPLES = """examples:
  livery-proxy --role gateway --backend http://prometheus:9090 \\
      --policy tenants.yaml --users users.yaml
      tenants of a file, users of a file, on port 8080
  livery-proxy --role gateway --backend http://prom-0:9090 --backend http://prom-1:9090 ...
      two replicas: any of them is asked
  LIVERY_CONTROL_URL=https://livery-injector:8444 LIVERY_TOKEN_FILE=... \\
      livery-proxy --role gateway --backend http://prometheus:9090
      rules by the injector's control service; callers show Kubernetes tokens
"""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything a gateway is told."""

    backends: tuple[str, ...]
    backend: BackendSettings
    policy_file: Path | None
    """Access rules of a file; None for those of the control service."""
    access_folder: Path | None
    """MetricAccess objects in files, in place of both."""
    access_grants_all: bool
    notes: tuple[str, ...]
    """What of a configuration file has no effect, a sentence each."""
    control: ControlSettings | None
    max_policy_age_seconds: float
    users_file: Path | None
    trusted_header: str
    """Names tenants, in lower case; empty where no header is trusted."""
    trusted_sources: tuple[Network, ...]
    namespace_label: str
    timeout_seconds: float
    limits: AllLimits
    active: int
    fills_gaps: bool
    collector: ControlSettings | None
    """Where it is told what to collect; None where it collects nothing."""
    refuses_unseen: bool
    port: int
    admin_port: int
    certificate: Path | None
    key: Path | None
    log_level: str


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line of `livery-proxy --role gateway`."""
    parser = Parser.of_role(
        "gateway",
        prog="livery-proxy --role gateway",
        description="Livery's proxy for tenants' queries: Prometheus' API, each seeing its own.",
        examples=EXAMPLES,
    )
    add = parser.add_argument
    add("--backend", action="append", default=[], metavar="URL",
        help="a Prometheus; of several, which are replicas, any is asked (beside those that the "
        "control service finds)")  # fmt: skip
    add("--backend-ca-file", metavar="FILE", help="CAs of backends with https (the system's)")
    add("--backend-token-file", metavar="FILE", help="bearer token for backends")
    add("--backend-user", metavar="NAME", help="name for backends that ask for a password")
    add("--backend-password-file", metavar="FILE", help="the password")
    add("--fill-gaps", action="store_true",
        help="ask two replicas, and take from one what the other has no samples of")  # fmt: skip
    add("--backend-timeout", metavar="SECONDS", default="30",
        help="until an answer of a Prometheus begins, and between its parts (%(default)s)",
        )  # fmt: skip
    add("--policy", metavar="FILE",
        help="access rules by tenant (YAML or JSON), watched; without it the control service "
        "(LIVERY_CONTROL_URL) sends them")  # fmt: skip
    add("--access", metavar="DIR",
        help="a folder of MetricAccess objects, watched, in place of --policy")  # fmt: skip
    add("--access-all-namespaces", action="store_true",
        help="objects of --access may read every namespace; else their own")  # fmt: skip
    add("--max-policy-age", metavar="SECONDS", default="600",
        help="refuse requests once the control service has been silent so long (%(default)s)",
        )  # fmt: skip
    add("--users", metavar="FILE", help="users, their password hashes and tenants, watched")
    add("--trusted-source", action="append", default=[], metavar="CIDR",
        help="addresses of an authenticating proxy in front, whose header is trusted",
        )  # fmt: skip
    add("--trusted-header", metavar="NAME", default=HEADER,
        help="the header of it that names tenants, separated by commas (%(default)s)")  # fmt: skip
    add("--namespace-label", metavar="LABEL", default="namespace",
        help="names a series' namespace in the backends (%(default)s)")  # fmt: skip
    add("--refuse-unseen", action="store_true",
        help="a selector of which the rules show nothing is an error, in place of an empty answer",
        )  # fmt: skip
    add("--limits", metavar="FILE",
        help="bounds by tenant (YAML or JSON): default: {...}, tenants: {NAME: {...}}")  # fmt: skip
    limits = TenantLimits()
    add("--requests-per-second", metavar="N", default=str(limits.requests_per_second),
        help="of one tenant (%(default)s)")  # fmt: skip
    add("--burst", metavar="N", default=str(limits.burst), help="of one tenant (%(default)s)")
    add("--concurrency", metavar="N", default=str(limits.concurrency),
        help="requests of one tenant at once (%(default)s)")  # fmt: skip
    add("--response-mib", metavar="N", default=str(limits.response_bytes >> 20),
        help="of one answer (%(default)s)")  # fmt: skip
    add("--query-bytes", metavar="N", default=str(limits.query_bytes),
        help=f"of one query, {MAX_QUERY_BYTES} at most (%(default)s)")  # fmt: skip
    add("--range-seconds", metavar="N",
        help="that one request may read: from its start to its end, and the ranges of its query "
        "before, offsets aside (unbounded)")  # fmt: skip
    add("--max-concurrent-requests", metavar="N", default="100",
        help="of all tenants; beyond, they take turns (%(default)s)")  # fmt: skip
    add("--collect", action="store_true",
        help="also send what MetricAccess objects with `collect: prometheus` name: the control "
        "service says which")  # fmt: skip
    add("--config", metavar="FILE",
        help="a prometheus-multi-tenant-proxy's configuration; arguments take precedence",
        )  # fmt: skip
    add("--tls-cert-file", metavar="FILE", help="serve HTTPS on the data port")
    add("--tls-key-file", metavar="FILE", help="the certificate's key")
    add("--port", help=f"data port ({DEFAULT_PORT})")
    add("--admin-port", help=f"/readyz, /metrics, /health ({DEFAULT_ADMIN_PORT})")
    add("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def parse_gateway_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> GatewaySettings:
    """Read arguments.

    Raises:
        SettingsError: something is wrong; names it.
    """
    given, notes = _parse(arguments)
    control = read_control(environ, "gateway")
    _check(given, control)
    if (given.tls_cert_file is None) is not (given.tls_key_file is None):
        raise SettingsError("--tls-cert-file and --tls-key-file: one without the other")
    port = _port("--port", given.port, DEFAULT_PORT)
    admin_port = _port("--admin-port", given.admin_port, DEFAULT_ADMIN_PORT)
    if port == admin_port != 0:
        raise SettingsError(f"--port and --admin-port are both {port}; two ports are needed")
    backend = _backend(given)
    for url in given.backend:
        Backend(url, backend)  # says what is wrong with it
    return GatewaySettings(
        backends=tuple(dict.fromkeys(given.backend)),
        backend=backend,
        policy_file=Path(given.policy) if given.policy else None,
        access_folder=Path(given.access) if given.access else None,
        access_grants_all=given.access_all_namespaces,
        notes=notes,
        control=control,
        max_policy_age_seconds=_number("--max-policy-age", given.max_policy_age),
        users_file=Path(given.users) if given.users else None,
        trusted_header=given.trusted_header.lower() if given.trusted_source else "",
        trusted_sources=_sources(given.trusted_source),
        namespace_label=given.namespace_label,
        timeout_seconds=_number("--backend-timeout", given.backend_timeout),
        limits=_limits(given),
        fills_gaps=given.fill_gaps,
        collector=read_control(environ, "collector") if given.collect else None,
        refuses_unseen=given.refuse_unseen,
        active=_count("--max-concurrent-requests", given.max_concurrent_requests),
        port=port,
        admin_port=admin_port,
        certificate=Path(given.tls_cert_file) if given.tls_cert_file else None,
        key=Path(given.tls_key_file) if given.tls_key_file else None,
        log_level=given.log_level,
    )


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Read arguments, and the file that `--config` names as their defaults."""
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not given.config:
        return given, ()
    # Imported only here: it is of use to nobody else.
    from sidecar.gateway.compatible import read_config

    config = read_config(Path(given.config))
    parser.set_defaults(**config.defaults)
    notes = [f"{item.key}: {item.value}" for item in config.equals if not item.chart]
    if config.discovery:
        notes.append("discovery: the control service finds backends (gateway.backends.discovery)")
    return parser.parse_args(arguments), tuple(notes)


def _check(given: argparse.Namespace, control: ControlSettings | None) -> None:
    if given.collect and control is None:
        raise SettingsError("--collect needs a control service (LIVERY_CONTROL_URL)")
    if not given.backend and control is None:
        raise SettingsError("--backend is needed where no control service (LIVERY_CONTROL_URL) is")
    if not (given.policy or given.access) and control is None:
        text = "--policy or --access is needed where no control service (LIVERY_CONTROL_URL) is"
        raise SettingsError(text)
    if given.access_all_namespaces and not given.access:
        raise SettingsError("--access-all-namespaces has no effect without --access")
    label = given.namespace_label
    if _LABEL.fullmatch(label) is None or label == "__name__":
        raise SettingsError(f"--namespace-label: {label[:60]!r} names no label of namespaces")
    if given.policy and given.access:
        raise SettingsError("--policy must not be given with --access")
    if given.fill_gaps and len(given.backend) < 2 and control is None:
        raise SettingsError("--fill-gaps needs two --backend, of which one fills the other's gaps")
    _check_callers(given, control)


def _check_callers(given: argparse.Namespace, control: ControlSettings | None) -> None:
    if not (given.users or given.trusted_source or control):
        raise SettingsError(
            "--users (or --trusted-source) is needed: without it and without a control service "
            "nobody is known"
        )
    if _HEADER.fullmatch(given.trusted_header) is None:
        raise SettingsError(f"--trusted-header: {given.trusted_header[:60]!r} names no header")
    if given.trusted_header != HEADER and not given.trusted_source:
        raise SettingsError("--trusted-header has no effect without --trusted-source")


def _backend(given: argparse.Namespace) -> BackendSettings:
    user, password = given.backend_user, given.backend_password_file
    if (user is None) is not (password is None):
        raise SettingsError("--backend-user and --backend-password-file: one without the other")
    if user is not None and given.backend_token_file:
        raise SettingsError("--backend-user must not be given with --backend-token-file")
    return BackendSettings(
        Path(given.backend_ca_file) if given.backend_ca_file else None,
        Path(given.backend_token_file) if given.backend_token_file else None,
        None if user is None else (user, Path(password)),
    )


def check_files(backend: BackendSettings) -> None:
    """See that what backends ask for is there.

    Raises:
        SettingsError: a file cannot be read; names the flag.
    """
    try:
        read_authorization(backend)
    except UpstreamError as error:
        flag = "--backend-token-file" if backend.basic is None else "--backend-password-file"
        raise SettingsError(f"{flag}: {error}") from error
    if backend.ca_file is not None and not backend.ca_file.is_file():
        raise SettingsError(f"--backend-ca-file: there is no file {str(backend.ca_file)!r}")


def _limits(given: argparse.Namespace) -> AllLimits:
    usual = TenantLimits(
        requests_per_second=_number("--requests-per-second", given.requests_per_second),
        burst=_count("--burst", given.burst),
        concurrency=_count("--concurrency", given.concurrency),
        response_bytes=int(_number("--response-mib", given.response_mib) * (1 << 20)),
        query_bytes=_count("--query-bytes", given.query_bytes, MAX_QUERY_BYTES),
    )
    if given.range_seconds is not None:
        usual = usual._replace(range_seconds=_number("--range-seconds", given.range_seconds, 1e10))
    return read_limits(Path(given.limits), usual) if given.limits else AllLimits(usual, {})


def _sources(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return read_sources(texts)
    except SettingsError as error:
        raise SettingsError(f"--trusted-source: {error}") from error


def _number(flag: str, text: str, most: float = 1e6) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST <= value <= most:
        raise SettingsError(f"{flag}: {text[:40]!r} is not a number from {LEAST} to {most:.0f}")
    return value


def _count(flag: str, text: str, most: float = 1e6) -> int:
    """Read a whole number of at least 1."""
    value = _number(flag, text, most)
    if value < 1 or value != int(value):
        raise SettingsError(f"{flag}: {text[:40]!r} is not a whole number from 1 to {most:.0f}")
    return int(value)


def _port(flag: str, text: str | None, default: int) -> int:
    port = default if text is None else read_port(text)
    if port is None:
        raise SettingsError(f"{flag}: {str(text)[:40]!r} is not a port from 0 to 65535")
    return port
