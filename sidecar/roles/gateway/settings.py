"""Settings of the gateway role, from arguments and environment."""

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
      tenants and users from files, on port 8080
  livery-proxy --role gateway --backend http://prom-0:9090 --backend http://prom-1:9090 ...
      two replicas: each query goes to either of them
  LIVERY_CONTROL_URL=https://livery-injector:8444 LIVERY_TOKEN_FILE=... \\
      livery-proxy --role gateway --backend http://prometheus:9090
      rules from the injector's control service; callers authenticate with Kubernetes tokens
"""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """All settings of a gateway."""

    backends: tuple[str, ...]
    backend: BackendSettings
    policy_file: Path | None
    """File with access rules; None to use those of the control service."""
    access_folder: Path | None
    """Folder of MetricAccess objects, used in place of a file or the control service."""
    access_grants_all: bool
    notes: tuple[str, ...]
    """Settings of the `--config` file that have no effect, one sentence each."""
    control: ControlSettings | None
    max_policy_age_seconds: float
    users_file: Path | None
    trusted_header: str
    """Header that names tenants, in lower case; empty if no header is trusted."""
    trusted_sources: tuple[Network, ...]
    namespace_label: str
    timeout_seconds: float
    limits: AllLimits
    active: int
    fills_gaps: bool
    collector: ControlSettings | None
    """Control service that assigns what to collect; None to collect nothing."""
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
        description="Livery's proxy for tenants' queries: Prometheus' API under access rules.",
        examples=EXAMPLES,
    )
    add = parser.add_argument
    add("--backend", action="append", default=[], metavar="URL",
        help="URL of a Prometheus; repeat for replicas, any of which is queried (in addition to "
        "those that the control service finds)")  # fmt: skip
    add("--backend-ca-file", metavar="FILE", help="CAs of https backends (default: the system's)")
    add("--backend-token-file", metavar="FILE", help="bearer token for backends")
    add("--backend-user", metavar="NAME", help="user name for backends with basic authentication")
    add("--backend-password-file", metavar="FILE", help="password of --backend-user")
    add("--fill-gaps", action="store_true",
        help="query two replicas, and fill gaps in one with samples of the other")  # fmt: skip
    add("--backend-timeout", metavar="SECONDS", default="30",
        help="maximum wait for a backend's response to start, and between its parts (%(default)s)",
        )  # fmt: skip
    add("--policy", metavar="FILE",
        help="access rules by tenant (YAML or JSON), reloaded when they change; without it, the "
        "control service (LIVERY_CONTROL_URL) sends them")  # fmt: skip
    add("--access", metavar="DIR",
        help="folder of MetricAccess objects to use in place of --policy, reloaded when they "
        "change")  # fmt: skip
    add("--access-all-namespaces", action="store_true",
        help="let objects of --access read every namespace, not only their own")  # fmt: skip
    add("--max-policy-age", metavar="SECONDS", default="600",
        help="refuse requests if the policy has not been confirmed for this long (%(default)s)",
        )  # fmt: skip
    add("--users", metavar="FILE",
        help="file of users, password hashes and tenants, reloaded when it changes")  # fmt: skip
    add("--trusted-source", action="append", default=[], metavar="CIDR",
        help="address range of an authenticating proxy in front, whose header is trusted",
        )  # fmt: skip
    add("--trusted-header", metavar="NAME", default=HEADER,
        help="header in which that proxy names tenants, separated by commas (%(default)s)",
        )  # fmt: skip
    add("--namespace-label", metavar="LABEL", default="namespace",
        help="series label that holds the namespace in the backends (%(default)s)")  # fmt: skip
    add("--refuse-unseen", action="store_true",
        help="return an error in place of an empty result for a selector that can match nothing "
        "under the rules")  # fmt: skip
    add("--limits", metavar="FILE",
        help="limits by tenant (YAML or JSON): default: {...}, tenants: {NAME: {...}}")  # fmt: skip
    limits = TenantLimits()
    add("--requests-per-second", metavar="N", default=str(limits.requests_per_second),
        help="request rate of one tenant (%(default)s)")  # fmt: skip
    add("--burst", metavar="N", default=str(limits.burst),
        help="requests of one tenant that may exceed the rate for a moment (%(default)s)",
        )  # fmt: skip
    add("--concurrency", metavar="N", default=str(limits.concurrency),
        help="requests of one tenant at once (%(default)s)")  # fmt: skip
    add("--response-mib", metavar="N", default=str(limits.response_bytes >> 20),
        help="size of one response (%(default)s)")  # fmt: skip
    add("--query-bytes", metavar="N", default=str(limits.query_bytes),
        help=f"length of one query, at most {MAX_QUERY_BYTES} (%(default)s)")  # fmt: skip
    add("--range-seconds", metavar="N",
        help="time that one request may read: from its start to its end, plus the ranges in its "
        "query, without offsets (default: unlimited)")  # fmt: skip
    add("--max-concurrent-requests", metavar="N", default="100",
        help="requests of all tenants at once; further ones wait their turn (%(default)s)",
        )  # fmt: skip
    add("--collect", action="store_true",
        help="also forward the series of MetricAccess objects with `collect: prometheus` that the "
        "control service assigns")  # fmt: skip
    add("--config", metavar="FILE",
        help="configuration file of prometheus-multi-tenant-proxy; arguments take precedence",
        )  # fmt: skip
    add("--tls-cert-file", metavar="FILE", help="certificate for HTTPS on the data port")
    add("--tls-key-file", metavar="FILE", help="key of the certificate")
    add("--port", help=f"data port ({DEFAULT_PORT})")
    add("--admin-port", help=f"port of /readyz, /metrics and /health ({DEFAULT_ADMIN_PORT})")
    add("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def parse_gateway_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> GatewaySettings:
    """Read arguments.

    Raises:
        SettingsError: a setting is invalid; the message names it.
    """
    given, notes = _parse(arguments)
    control = read_control(environ, "gateway")
    _check(given, control)
    if (given.tls_cert_file is None) is not (given.tls_key_file is None):
        raise SettingsError("--tls-cert-file and --tls-key-file must be set together")
    port = _port("--port", given.port, DEFAULT_PORT)
    admin_port = _port("--admin-port", given.admin_port, DEFAULT_ADMIN_PORT)
    if port == admin_port != 0:
        raise SettingsError(f"--port and --admin-port are both {port}; they must differ")
    backend = _backend(given)
    for url in given.backend:
        Backend(url, backend)  # raises if the URL is invalid
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
    """Read arguments, with the values of the `--config` file as their defaults."""
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not given.config:
        return given, ()
    # Imported here because only `--config` needs it.
    from sidecar.gateway.compatible import read_config

    config = read_config(Path(given.config))
    parser.set_defaults(**config.defaults)
    notes = [f"{item.key}: {item.value}" for item in config.equals if not item.chart]
    if config.discovery:
        notes.append("discovery: the control service finds backends (gateway.backends.discovery)")
    return parser.parse_args(arguments), tuple(notes)


def _check(given: argparse.Namespace, control: ControlSettings | None) -> None:
    if given.collect and control is None:
        raise SettingsError("--collect needs a control service: set LIVERY_CONTROL_URL")
    if not given.backend and control is None:
        raise SettingsError("--backend is required without a control service (LIVERY_CONTROL_URL)")
    if not (given.policy or given.access) and control is None:
        text = "--policy or --access is required without a control service (LIVERY_CONTROL_URL)"
        raise SettingsError(text)
    if given.access_all_namespaces and not given.access:
        raise SettingsError("--access-all-namespaces has no effect without --access")
    label = given.namespace_label
    if _LABEL.fullmatch(label) is None or label == "__name__":
        raise SettingsError(f"--namespace-label: {label[:60]!r} is not a valid label name")
    if given.policy and given.access:
        raise SettingsError("--policy must not be set with --access")
    if given.fill_gaps and len(given.backend) < 2 and control is None:
        raise SettingsError("--fill-gaps needs at least two backends: repeat --backend")
    _check_callers(given, control)


def _check_callers(given: argparse.Namespace, control: ControlSettings | None) -> None:
    if not (given.users or given.trusted_source or control):
        raise SettingsError(
            "--users or --trusted-source is required without a control service: otherwise no "
            "caller can be authenticated"
        )
    if _HEADER.fullmatch(given.trusted_header) is None:
        raise SettingsError(f"--trusted-header: {given.trusted_header[:60]!r} is not a header name")
    if given.trusted_header != HEADER and not given.trusted_source:
        raise SettingsError("--trusted-header has no effect without --trusted-source")


def _backend(given: argparse.Namespace) -> BackendSettings:
    user, password = given.backend_user, given.backend_password_file
    if (user is None) is not (password is None):
        raise SettingsError("--backend-user and --backend-password-file must be set together")
    if user is not None and given.backend_token_file:
        raise SettingsError("--backend-user must not be set with --backend-token-file")
    return BackendSettings(
        Path(given.backend_ca_file) if given.backend_ca_file else None,
        Path(given.backend_token_file) if given.backend_token_file else None,
        None if user is None else (user, Path(password)),
    )


def check_files(backend: BackendSettings) -> None:
    """Check that the backends' credential and CA files exist.

    Raises:
        SettingsError: a file cannot be read; the message names the flag.
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
        raise SettingsError(f"{flag}: {text[:40]!r} is not an integer from 1 to {most:.0f}")
    return int(value)


def _port(flag: str, text: str | None, default: int) -> int:
    port = default if text is None else read_port(text)
    if port is None:
        raise SettingsError(f"{flag}: {str(text)[:40]!r} is not a port from 0 to 65535")
    return port
