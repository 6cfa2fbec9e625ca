"""Runs a real API server with its own etcd."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config
from webhook_certs.authority import create_authority, issue_leaf

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from tests.real_parts.go import build
from tests.real_parts.kubernetes_versions import PACKAGE, chosen_version, module_of, tags_of
from tests.real_parts.ports import free_port

_HERE = Path(__file__).parent
READY_SECONDS = 60.0
TOKEN = "administrator"
_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{url}", certificate-authority: "{authority}"}}}}]
users: [{{name: test, user: {{token: {token}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
"""
_STAMP = "-X k8s.io/component-base/version."


def kube_apiserver_program() -> Path:
    """Returns the path of the kube-apiserver program; builds it if needed."""
    version = chosen_version()
    major, minor, patch = version
    variables = (
        f"{_STAMP}gitVersion=v{major}.{minor}.{patch} {_STAMP}gitMajor={major} "
        f"{_STAMP}gitMinor={minor} {_STAMP}gitTreeState=clean"
    )
    module, tags = module_of(version), tags_of(version)
    return build(module, PACKAGE, "kube-apiserver", tags=tags, variables=variables)


def etcd_program() -> Path:
    """Returns the path of the etcd program; builds it if needed."""
    return build(_HERE / "etcd_module", "go.etcd.io/etcd/server/v3", "etcd")


def helm_program() -> Path:
    """Returns the path of the helm program; builds it if needed."""
    stamp = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersion"
    _, minor, _ = chosen_version()
    return build(
        _HERE / "helm_module",
        "helm.sh/helm/v3/cmd/helm",
        "helm",
        variables=f"{stamp}Major=1 {stamp}Minor={minor}",
    )


@dataclass(frozen=True)
class ApiServer:
    """A running API server; its administrator's kubeconfig is a file."""

    url: str
    kubeconfig: Path
    pid: int

    def client(self) -> KubeClient:
        """Connects as the administrator."""
        configuration = Configuration()
        load_kube_config(  # type: ignore[no-untyped-call]
            str(self.kubeconfig), client_configuration=configuration
        )
        return KubeClient(configuration)


@contextmanager
def running_api_server(directory: Path) -> Iterator[ApiServer]:
    """Runs an API server on loopback, with all its files in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        etcd_url = start_etcd(directory, stack)
        yield start_api_server(directory, etcd_url, stack)


def start_api_server(
    directory: Path, etcd_url: str, stack: ExitStack, port: int | None = None
) -> ApiServer:
    """Starts an API server on an etcd; the stack stops it."""
    port = port or free_port()
    keys = _write_keys(directory)
    command = [
        str(kube_apiserver_program()),
        f"--etcd-servers={etcd_url}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={directory / 'serving.pem'}",
        f"--tls-private-key-file={directory / 'serving.pem'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={keys}",
        f"--service-account-signing-key-file={keys}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--api-audiences=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
    ]
    process = _start(command, directory / "apiserver.log", stack)
    url = f"https://127.0.0.1:{port}"
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(
        _KUBECONFIG.format(url=url, token=TOKEN, authority=directory / "authority.pem")
    )
    running = ApiServer(url, kubeconfig, process.pid)
    _wait_until_ready(running, process, directory / "apiserver.log")
    return running


def start_etcd(directory: Path, stack: ExitStack) -> str:
    """Starts an etcd, which the stack stops; returns its URL."""
    client, peer = free_port(), free_port()
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    command = [
        str(etcd_program()),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
    ]
    _start(command, directory / "etcd.log", stack)
    return url


def _write_keys(directory: Path) -> Path:
    (directory / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    path = directory / "service-accounts.pem"
    if not path.exists():
        now = datetime.now(UTC)
        authority = create_authority("test", now)
        leaf = issue_leaf(authority, ["127.0.0.1", "localhost"], now)
        (directory / "authority.pem").write_text(authority.certificate_pem)
        (directory / "serving.pem").write_text(leaf.chain_pem + leaf.key_pem)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return path


def _start(command: list[str], log: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    stack.callback(_end, process)
    return process


def _wait_until_ready(running: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    client = running.client()
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(KubeError):
            # The default namespaces are created after the API server's first responses.
            client.request("GET", "/api/v1/namespaces/default")
            return
        time.sleep(0.1)
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
    raise RuntimeError(f"the API server does not get ready; its log ends with:\n{last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # On SIGTERM, an API server would wait for its watches; none of its data is kept.
    process.kill()
    process.wait()
