"""What the node role was started with."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar import VERSION
from sidecar.arguments import Parser, read_control, read_port
from sidecar.control import ControlSettings
from sidecar.errors import SettingsError
from sidecar.kubelet import KubeletSettings
from sidecar.logs import LEVELS

DEFAULT_PORT = 8080
DEFAULT_ADMIN_PORT = 8081
KUBELET_PORT = 10250
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"

EXAMPLES = """examples:
  livery-proxy --role node
      in a DaemonSet: asks the kubelet of NODE_IP, labels by the policy stream, serves on port 8080
  livery-proxy --role node --kubelet-url https://10.0.0.7:10250 --policy policy.yaml
      label one node's metrics: policy.yaml holds `namespaces: {shop: {team: frontend}}`
  livery-proxy --role node --via-apiserver --node-name worker-1 --policy policy.yaml
      ask through the API server, which needs nodes/proxy: that is remote execution, know it
"""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """All settings of one proxy in the node role."""

    kubelet: KubeletSettings
    port: int
    admin_port: int
    policy_file: Path | None
    control: ControlSettings | None
    certificate: tuple[Path, Path] | None
    """Files of the certificate and key with which the data port speaks TLS."""
    accounts: frozenset[str] | None
    """Who may scrape besides those who may get nodes/metrics; None where nobody is asked."""
    namespace_label: str
    """Label of a series that names the namespace whose labels it wears."""
    keeps_timestamps: bool
    log_level: str


def build_node_parser() -> argparse.ArgumentParser:
    """Describe the command line of `livery-proxy --role node`."""
    parser = Parser(
        prog="livery-proxy --role node",
        description="Livery's proxy for a node: kubelet metrics with their namespaces' labels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"livery-proxy {VERSION}")
    parser.add_argument("--role", choices=["node"], required=True, help="what this proxy does")
    source = parser.add_argument_group("the kubelet")
    source.add_argument(
        "--kubelet-url", default="", metavar="URL", help="https://$NODE_IP:10250 by default"
    )
    source.add_argument(
        "--via-apiserver",
        nargs="?",
        const=API_SERVER,
        default="",
        metavar="URL",
        help=f"ask through the API server's node proxy ({API_SERVER})",
    )
    source.add_argument(
        "--node-name", default="", help="for --via-apiserver; $NODE_NAME by default"
    )
    source.add_argument(
        "--kubelet-token-file",
        default=str(SERVICE_ACCOUNT / "token"),
        metavar="FILE",
        help="empty for none (%(default)s)",
    )
    source.add_argument(
        "--kubelet-ca-file",
        default=str(SERVICE_ACCOUNT / "ca.crt"),
        metavar="FILE",
        help="CAs that sign it; empty for the system's (%(default)s)",
    )
    source.add_argument(
        "--kubelet-insecure-skip-tls-verify",
        action="store_true",
        help="believe any kubelet, and give it the token",
    )
    parser.add_argument("--policy", metavar="FILE", help="a policy file (YAML or JSON), watched")
    ports: dict[str, Any] = {"type": _port, "help": "(%(default)s)"}
    parser.add_argument("--port", default=DEFAULT_PORT, **ports)
    parser.add_argument("--admin-port", default=DEFAULT_ADMIN_PORT, **ports)
    access = parser.add_argument_group("who may scrape")
    access.add_argument(
        "--auth",
        choices=["none", "token"],
        default="none",
        help="token: whoever may get nodes/metrics; the control service judges (%(default)s)",
    )
    access.add_argument(
        "--allow-account",
        action="append",
        default=[],
        metavar="NAMESPACE/NAME",
        help="a service account that may, too; may be given several times",
    )
    access.add_argument("--tls-cert-file", default="", metavar="FILE", help="serve TLS; followed")
    access.add_argument("--tls-key-file", default="", metavar="FILE")
    parser.add_argument(
        "--namespace-label",
        default="namespace",
        metavar="LABEL",
        help="names a series' namespace (%(default)s)",
    )
    parser.add_argument(
        "--honor-timestamps",
        action="store_true",
        help="pass cAdvisor's timestamps on: a series that changes hands is then doubled for "
        "five minutes, unless Prometheus tracks staleness",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def parse_node_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> NodeSettings:
    """Read arguments and environment.

    Raises:
        SettingsError: something is wrong; names it.
    """
    given = build_node_parser().parse_args(arguments)
    if given.port == given.admin_port != 0:
        raise SettingsError(f"--port and --admin-port are both {given.port}; two ports are needed")
    if given.kubelet_url and given.via_apiserver:
        raise SettingsError("--kubelet-url and --via-apiserver: one of them")
    if bool(given.tls_cert_file) != bool(given.tls_key_file):
        raise SettingsError("--tls-cert-file and --tls-key-file: one without the other")
    control = read_control(environ, "node")
    if given.auth == "token" and control is None:
        raise SettingsError("--auth token needs a control service (LIVERY_CONTROL_URL)")
    certificate = (Path(given.tls_cert_file), Path(given.tls_key_file))
    return NodeSettings(
        kubelet=KubeletSettings(
            url=_kubelet_url(given, environ),
            token_file=Path(given.kubelet_token_file) if given.kubelet_token_file else None,
            authorities_file=Path(given.kubelet_ca_file) if given.kubelet_ca_file else None,
            is_verified=not given.kubelet_insecure_skip_tls_verify,
        ),
        port=given.port,
        admin_port=given.admin_port,
        policy_file=Path(given.policy) if given.policy else None,
        control=control,
        certificate=certificate if given.tls_cert_file else None,
        accounts=frozenset(given.allow_account) if given.auth == "token" else None,
        namespace_label=given.namespace_label,
        keeps_timestamps=given.honor_timestamps,
        log_level=given.log_level,
    )


def _kubelet_url(given: argparse.Namespace, environ: Mapping[str, str]) -> str:
    if given.kubelet_url:
        return str(given.kubelet_url)
    if given.via_apiserver:
        name = given.node_name or environ.get("NODE_NAME", "")
        if not name or not all(char.isalnum() or char in "-." for char in name):
            raise SettingsError(f"--via-apiserver needs a node's name, not {name[:80]!r}")
        return f"{given.via_apiserver.rstrip('/')}/api/v1/nodes/{name}/proxy"
    address = environ.get("NODE_IP") or environ.get("NODE_NAME") or "localhost"
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{KUBELET_PORT}"


def _port(text: str) -> int:
    port = read_port(text)
    if port is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a port from 0 to 65535")
    return port
