"""Settings of the node role, from arguments and environment."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.control.settings import ControlSettings, read_control
from sidecar.errors import SettingsError
from sidecar.kubelet.client import KUBELET_PORT, KubeletSettings
from sidecar.kubelet.proxy import TextSettings
from sidecar.model.exposition.limits import NODE_LIMITS
from sidecar.model.hosts import bracket
from sidecar.model.pods.index import PodLabels
from sidecar.process.arguments import Parser, read_port
from sidecar.process.logs import LEVELS

DEFAULT_PORT = 8080
DEFAULT_ADMIN_PORT = 8081
DEFAULT_SECURE_ADMIN_PORT = 8443
DEFAULT_REMEMBERED_MIB = 96
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"

EXAMPLES = """examples:
  livery-proxy --role node --auth token
      in a DaemonSet: scrape the kubelet at NODE_IP, label by the policy stream, serve on port 8080
  livery-proxy --role node --kubelet-url https://10.0.0.7:10250 --policy policy.yaml --auth none
      label one node's metrics: policy.yaml holds `namespaces: {shop: {team: frontend}}`
  livery-proxy --role node --auth token --discovery --pod-label app.kubernetes.io/name
      list the node's pods at /targets, and copy one pod label to the pods' series
  livery-proxy --role node --auth token --all-nodes
      in a Deployment: /nodes/NAME/metrics/cadvisor for each node; /nodes lists them as targets
  livery-proxy --role node --auth token --via-apiserver --node-name worker-1
      scrape through the API server; this needs nodes/proxy, which allows execution in every pod
"""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """All settings of one proxy in the node role."""

    kubelet: KubeletSettings
    """The node's kubelet; with `serves_all_nodes`, the settings shared by all kubelets."""
    text: TextSettings
    serves_all_nodes: bool
    discovers: bool
    """Whether `/targets` is served."""
    discovery_file: Path | None
    """File with arguments of Alloy's `discovery.kubelet`; None for the defaults."""
    port: int
    admin_port: int
    secure_admin_port: int
    cached_bytes: int
    """Total size limit of all kubelets' series caches."""
    policy_file: Path | None
    control: ControlSettings | None
    certificate: tuple[Path, Path] | None
    """Certificate and key files for TLS on the data port; None for plain HTTP."""
    admin_certificate: tuple[Path, Path] | None
    accounts: frozenset[str] | None
    """Accounts that may scrape without `get nodes/metrics`; None without authentication."""
    log_level: str
    notes: tuple[str, ...]
    """Messages logged once at startup."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line of `livery-proxy --role node`."""
    parser = Parser.of_role(
        "node",
        prog="livery-proxy --role node",
        description="Livery's proxy for a node: serves kubelet metrics with namespace labels.",
        examples=EXAMPLES,
    )
    _add_source(parser.add_argument_group("the kubelet"))
    _add_labels(parser.add_argument_group("labels"))
    _add_discovery(parser.add_argument_group("targets"))
    _add_limits(parser.add_argument_group("limits of one response"))
    parser.add_argument(
        "--policy", metavar="FILE", help="policy file (YAML or JSON), reloaded when it changes"
    )
    ports: dict[str, Any] = {"type": _port, "help": "(%(default)s)"}
    parser.add_argument("--port", "--metrics-port", "-metrics-port", default=DEFAULT_PORT, **ports)
    parser.add_argument("--admin-port", default=DEFAULT_ADMIN_PORT, **ports)
    _add_access(parser.add_argument_group("authentication and TLS"))
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    _add_seed_flags(parser.add_argument_group("kubelet-meta-proxy flags, as -name or --name"))
    return parser


def _add_source(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--kubelet-url", default="", metavar="URL",
        help="URL of the kubelet (default: https://$NODE_IP:10250)",
    )  # fmt: skip
    add(
        "--via-apiserver", nargs="?", const=API_SERVER, default="", metavar="URL",
        help=f"scrape through the API server's node proxy (default URL: {API_SERVER})",
    )  # fmt: skip
    add("--node-name", default="", help="node for --via-apiserver (default: $NODE_NAME)")
    add("--all-nodes", action="store_true", help="serve every node in the policy")
    add(
        "--kubelet-token-file", default=str(SERVICE_ACCOUNT / "token"), metavar="FILE",
        help="bearer token for the kubelet; empty for none (%(default)s)",
    )  # fmt: skip
    add(
        "--kubelet-ca-file", default=str(SERVICE_ACCOUNT / "ca.crt"), metavar="FILE",
        help="CAs that verify the kubelet; empty for the system's (%(default)s)",
    )  # fmt: skip
    add(
        "--kubelet-insecure-skip-tls-verify", action="store_true",
        help="do not verify the kubelet's certificate; the token is still sent",
    )  # fmt: skip
    add(
        "--remember-mib", type=_count, default=DEFAULT_REMEMBERED_MIB, metavar="MIB",
        help="total size limit of all kubelets' series caches (%(default)s)",
    )  # fmt: skip


def _add_labels(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--namespace-label", default="namespace", metavar="LABEL",
        help="series label that holds the namespace (%(default)s)",
    )  # fmt: skip
    add(
        "--pod-label", action="append", default=[], metavar="KEY",
        help="pod label to copy to the pod's series; * matches anything; repeatable",
    )  # fmt: skip
    add(
        "--pod-annotation", action="append", default=[], metavar="KEY",
        help="pod annotation to copy to the pod's series; * matches anything; repeatable",
    )  # fmt: skip
    add(
        "--complete-cgroups", action="store_true",
        help="set namespace and pod on series that have only a cgroup (CRI-O), from the pod list",
    )  # fmt: skip
    add(
        "--honor-timestamps", action="store_true",
        help="keep cAdvisor's timestamps: after a label change the old series then stays beside "
        "the new one for five minutes, unless Prometheus tracks staleness",
    )  # fmt: skip


def _add_limits(group: argparse._ArgumentGroup) -> None:
    def add(name: str, default: int, text: str) -> None:
        group.add_argument(
            name, type=_count, default=default, metavar="N", help=f"{text} (%(default)s)"
        )

    add("--max-samples", NODE_LIMITS.samples, "samples")
    add("--max-labels", NODE_LIMITS.labels, "labels of a series, without added labels")
    add("--max-mib", NODE_LIMITS.lines_bytes >> 20, "MiB of text, with added labels")


def _add_discovery(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--discovery", action="store_true", help="list the node's pods as targets at /targets")
    add(
        "--discovery-config", default="", metavar="FILE",
        help="arguments of Alloy's discovery.kubelet (YAML or JSON), reloaded when they change",
    )  # fmt: skip


def _add_access(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--auth", choices=["none", "token"],
        help="required. token: allow callers that may get nodes/metrics, as checked by the "
        "control service; none: allow every caller",
    )  # fmt: skip
    add(
        "--allow-account", action="append", default=[], metavar="NAMESPACE/NAME",
        help="service account that may also scrape (implies --auth token); repeatable",
    )  # fmt: skip
    add(
        "--tls-cert-file", default="", metavar="FILE",
        help="certificate for the data port; reloaded when the file changes",
    )  # fmt: skip
    add("--tls-key-file", default="", metavar="FILE")


def _add_seed_flags(group: argparse._ArgumentGroup) -> None:
    def add(name: str, text: str, **options: Any) -> None:
        group.add_argument(f"-{name}", f"--{name}", help=text, **options)

    add("node-name-or-ip", "the kubelet's host", default="", metavar="HOST")
    add("node-ip", "the kubelet's IP address; overrides the host", default="", metavar="IP")
    add("node-port", f"the kubelet's port ({KUBELET_PORT}) or the API server's (443)", type=_port)
    add("node-cadvisor-path", "the kubelet's path of cAdvisor metrics", default="", metavar="PATH")
    add("kube-apiserver", "same as --via-apiserver, given as a host", default="", metavar="HOST")
    flag: dict[str, Any] = {"nargs": "?", "const": "true", "type": _flag, "metavar": "true/false"}
    add("metrics-secure", "also serve the admin port over TLS", default="false", **flag)
    add("metrics-bind-address", "TLS address (:8443; 0: off)", default="", metavar="ADDRESS")
    add("metrics-cert-path", "folder of the TLS certificate", default="", metavar="FOLDER")
    add("metrics-cert-name", "certificate file (%(default)s)", default="tls.crt", metavar="FILE")
    add("metrics-cert-key", "key file (%(default)s)", default="tls.key", metavar="FILE")
    add("health-probe-bind-address", "admin port, such as :8081", default="", metavar="ADDRESS")
    for name, reason in _NOTHING_TO_DO.items():
        add(name, f"no effect: {reason}", nargs="?", const="true", metavar="VALUE")


_OFF = ("", "0")
_NOTHING_TO_DO = {
    "enable-http2": "the kubelet is scraped over HTTP/1.1 with keep-alive",
    "max-concurrency": "labels arrive in one stream",
    "cache-sync-timeout": "scrapes get 503 until the labels have arrived",
    "zap-log-level": "use --log-level",
    "zap-devel": "logs are JSON lines",
    "zap-encoder": "logs are JSON lines",
    "zap-stacktrace-level": "a traceback is logged with every internal error",
    "zap-time-encoding": "log times are in RFC 3339 format",
    "kubeconfig": "the node role does not read Kubernetes objects",
    "leader-elect": "proxies do not coordinate",
    "webhook-cert-path": "the injector serves the webhook",
    "webhook-cert-name": "the injector serves the webhook",
    "webhook-cert-key": "the injector serves the webhook",
}


def parse_node_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> NodeSettings:
    """Read arguments and environment.

    Raises:
        SettingsError: a setting is invalid; the message names it.
    """
    given = build_parser().parse_args(arguments)
    if given.auth is None and given.allow_account:
        given.auth = "token"
    control = read_control(environ, "node")
    _check(given, control)
    admin_port = given.admin_port
    if given.health_probe_bind_address not in _OFF:
        admin_port = _port_of("health-probe-bind-address", given.health_probe_bind_address)
    if given.port == admin_port != 0:
        raise SettingsError(f"--port and --admin-port are both {given.port}; they must differ")
    secure_port, pair = _secure_port(given), _admin_pair(given)
    if pair is not None and secure_port != 0 and secure_port in (given.port, admin_port):
        raise SettingsError(
            f"--metrics-bind-address: port {secure_port} is already used by --port or --admin-port"
        )
    discovery_file = Path(given.discovery_config) if given.discovery_config else None
    return NodeSettings(
        kubelet=_kubelet(given, environ),
        text=TextSettings(
            namespace_label=given.namespace_label,
            keeps_timestamps=given.honor_timestamps,
            pod_labels=_pod_labels(given),
            limits=NODE_LIMITS._replace(
                samples=given.max_samples,
                labels=given.max_labels,
                lines_bytes=given.max_mib << 20,
                cache_bytes=given.remember_mib << 20,
            ),
        ),
        serves_all_nodes=given.all_nodes,
        discovers=given.discovery or discovery_file is not None,
        discovery_file=discovery_file,
        port=given.port,
        admin_port=admin_port,
        secure_admin_port=secure_port,
        cached_bytes=given.remember_mib << 20,
        policy_file=Path(given.policy) if given.policy else None,
        control=control,
        certificate=_pair(given.tls_cert_file, given.tls_key_file),
        admin_certificate=pair,
        accounts=frozenset(given.allow_account) if given.auth == "token" else None,
        log_level=given.log_level,
        notes=tuple(
            f"--{name} has no effect: {reason}"
            for name, reason in _NOTHING_TO_DO.items()
            if getattr(given, name.replace("-", "_")) is not None
        ),
    )


def _check(given: argparse.Namespace, control: ControlSettings | None) -> None:
    through = given.via_apiserver or given.kube_apiserver
    if given.kubelet_url and through:
        raise SettingsError("--kubelet-url must not be set with --via-apiserver")
    if given.all_nodes and given.kubelet_url:
        raise SettingsError(
            "--kubelet-url must not be set with --all-nodes: node addresses come from the policy"
        )
    if bool(given.tls_cert_file) != bool(given.tls_key_file):
        raise SettingsError("--tls-cert-file and --tls-key-file must be set together")
    if given.auth is None:
        raise SettingsError(
            "--auth is required: token, or none, with which every client that reaches the port "
            "can read the node's metrics"
        )
    if given.auth == "token" and control is None:
        raise SettingsError("--auth token needs a control service: set LIVERY_CONTROL_URL")
    path = given.node_cadvisor_path
    if path and not (path.startswith("/") and path.isascii() and path.isprintable()):
        raise SettingsError(
            f"--node-cadvisor-path: {path[:80]!r} is not a path such as /metrics/cadvisor"
        )
    if " " in path:
        raise SettingsError(f"--node-cadvisor-path: {path[:80]!r} contains a space")
    is_off = given.metrics_bind_address == "0"
    if given.metrics_secure == "true" and not is_off and not given.metrics_cert_path:
        raise SettingsError("--metrics-secure needs --metrics-cert-path, the certificate's folder")


def _kubelet(given: argparse.Namespace, environ: Mapping[str, str]) -> KubeletSettings:
    through = given.via_apiserver
    if given.kube_apiserver:
        host = given.kube_apiserver
        through = host if "://" in host else f"https://{_with_port(host, given.node_port or 443)}"
    settings = KubeletSettings(
        url="",
        api_server=through.rstrip("/"),
        port=given.node_port or KUBELET_PORT,
        token_file=Path(given.kubelet_token_file) if given.kubelet_token_file else None,
        ca_file=Path(given.kubelet_ca_file) if given.kubelet_ca_file else None,
        is_verified=not given.kubelet_insecure_skip_tls_verify,
        cadvisor_path=given.node_cadvisor_path,
    )
    if given.all_nodes:
        return settings
    if given.kubelet_url:
        return settings._replace(url=given.kubelet_url)
    named = given.node_name_or_ip
    if not through:
        address = given.node_ip or named or environ.get("NODE_IP") or environ.get("NODE_NAME")
        return settings.of_node("", address or "localhost")
    name = given.node_name or named or environ.get("NODE_NAME", "")
    if (
        not name.isascii()
        or not name[:1].isalnum()
        or not all(char.isalnum() or char in "-." for char in name)
    ):
        raise SettingsError(
            f"--via-apiserver: {name[:80]!r} is not a node name; set --node-name or NODE_NAME"
        )
    return settings.of_node(name, "")


def _pod_labels(given: argparse.Namespace) -> PodLabels | None:
    labels, annotations = tuple(given.pod_label), tuple(given.pod_annotation)
    wanted = PodLabels(labels, annotations, given.complete_cgroups)
    return wanted if any(wanted) else None


def _admin_pair(given: argparse.Namespace) -> tuple[Path, Path] | None:
    # "0" turns the server off, as in kubelet-meta-proxy.
    if given.metrics_secure != "true" or given.metrics_bind_address == "0":
        return None
    folder = Path(given.metrics_cert_path)
    return folder / given.metrics_cert_name, folder / given.metrics_cert_key


def _secure_port(given: argparse.Namespace) -> int:
    if given.metrics_bind_address in _OFF:
        return DEFAULT_SECURE_ADMIN_PORT
    return _port_of("metrics-bind-address", given.metrics_bind_address)


def _pair(certificate: str, key: str) -> tuple[Path, Path] | None:
    return (Path(certificate), Path(key)) if certificate else None


def _with_port(host: str, port: int) -> str:
    if host.count(":") == 1 or "]:" in host:
        return host  # it includes a port
    return f"{bracket(host)}:{port}"


def _port_of(name: str, address: str) -> int:
    port = read_port(address.rpartition(":")[2])
    if port is None:
        raise SettingsError(f"--{name}: {address[:80]!r} is not an address such as :8443")
    return port


def _flag(text: str) -> str:
    # The values that Go's flag package accepts.
    if text in ("1", "t", "T", "true", "True", "TRUE"):
        return "true"
    if text in ("0", "f", "F", "false", "False", "FALSE"):
        return "false"
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not true or false")


def _port(text: str) -> int:
    port = read_port(text)
    if port is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a port from 0 to 65535")
    return port


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an integer from 1 to 999999999")
