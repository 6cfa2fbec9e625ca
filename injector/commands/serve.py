"""`livery serve`: the injector, on a cluster or on a folder of manifests."""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from injector.app.service import Service, ServiceSettings
from injector.commands.inputs import read_platform
from injector.errors import SettingsError
from injector.files.backend import folder_backend
from injector.platform.settings import ControlAddress, Platform
from injector.web.metrics import InjectorMetrics
from sidecar.http.system_errors import describe
from sidecar.process.help_format import HelpFormatter
from sidecar.process.logs import LEVELS, configure_logs
from sidecar.process.memory import keep_freed_memory

logger = logging.getLogger(__name__)

EXAMPLES = """examples:
  livery serve --manifests examples/demo --tokens tokens --certs certs --name localhost
      serve webhook, control service and metrics for the manifests in examples/demo
  livery serve --cluster
      serve the cluster that this pod runs in, or that KUBECONFIG names
"""
DEFAULT_NAMES = ("localhost", "127.0.0.1")
DRAIN_SECONDS = 5.0
"""Time for the API server and proxies to notice that a replica has left its Service."""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve",
        help="run the injector on a cluster, or on a folder of manifests",
        description="Serve admission (8443), control (8444), metrics (9090) and, on the loopback, "
        "a status page (8080) for the Namespaces, MetricAccess objects and LimitRanges of a "
        "cluster or of a watched folder.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cluster", action="store_true", help="this pod's or KUBECONFIG's cluster")
    source.add_argument(
        "--manifests",
        type=Path,
        metavar="DIR",
        help="folder of manifests, or one file, to use instead of a cluster",
    )
    folder = parser.add_argument_group("with --manifests")
    folder.add_argument(
        "--tokens",
        type=Path,
        default=Path("tokens"),
        metavar="DIR",
        help="folder of proxies' tokens, as NAMESPACE/POD files (%(default)s)",
    )
    folder.add_argument(
        "--certs",
        type=Path,
        default=Path("certs"),
        metavar="DIR",
        help="folder of the CA (%(default)s)",
    )
    cluster = parser.add_argument_group("with --cluster")
    cluster.add_argument(
        "--namespace", default="livery-system", help="the injector's namespace (%(default)s)"
    )
    cluster.add_argument(
        "--service", default="livery-injector", help="the injector's Service (%(default)s)"
    )
    cluster.add_argument(
        "--ca-secret", default="livery-ca", help="the Secret that stores the CA (%(default)s)"
    )
    cluster.add_argument(
        "--certificate-secret",
        default="",
        metavar="NAME",
        help="a kubernetes.io/tls Secret with tls.crt, tls.key and ca.crt that is renewed by "
        "others, such as cert-manager; Livery's own CA then only keeps older pods' trust valid",
    )
    cluster.add_argument(
        "--lease",
        default="livery-status",
        help="Lease of the replica that writes objects' status (%(default)s); empty: none does",
    )
    cluster.add_argument(
        "--webhook-configuration",
        default="livery",
        help="where the CA is published (%(default)s); empty if no webhook is registered",
    )
    cluster.add_argument(
        "--webhook-is-given",
        action="store_true",
        help="do not change that configuration: the platform or cert-manager writes its CA",
    )
    cluster.add_argument(
        "--policy-secret",
        default="",
        metavar="NAME",
        help="the Secret from which a MutatingAdmissionPolicy reads the CA; none by default",
    )
    cluster.add_argument(
        "--authorities-map",
        dest="ca_bundle_map",
        default="",
        metavar="NAME",
        help="the ConfigMap from which node proxies read the CA; none by default",
    )
    cluster.add_argument(
        "--replica-token",
        type=Path,
        metavar="FILE",
        help="token of the injector's service account for the audience livery-control, with which "
        "replicas read one another's reports; without it each shows only its own",
    )
    parser.add_argument("--platform", type=Path, metavar="FILE", help="platform settings (YAML)")
    parser.add_argument("--name", action="append", default=[], help="additional certificate name")
    parser.add_argument("--host", default="", help="address to listen on; all by default")
    parser.add_argument("--admission-port", type=_port, default=8443, help="(%(default)s)")
    parser.add_argument("--control-port", type=_port, default=8444, help="(%(default)s)")
    parser.add_argument(
        "--metrics-port", type=_port, default=9090, help="metrics and health (%(default)s)"
    )
    parser.add_argument(
        "--status-port", type=_port, default=8080, help="status page, on 127.0.0.1 (%(default)s)"
    )
    parser.add_argument("--no-status-page", action="store_true", help="serve no status page")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    configure_logs(given.log_level)
    service_name = f"{given.service}.{given.namespace}.svc"
    settings = ServiceSettings(
        names=(*given.name, service_name, given.service, *DEFAULT_NAMES),
        host=given.host,
        admission_port=given.admission_port,
        control_port=given.control_port,
        metrics_port=given.metrics_port,
        status_port=None if given.no_status_page else given.status_port,
        drain_seconds=DRAIN_SECONDS if given.cluster else 0.0,
    )
    service = _service(given, settings, read_platform(given.platform))
    try:
        service.open()
    except OSError as error:
        raise SettingsError(_explain(error, settings)) from error
    if service.status_port and sys.stderr.isatty():
        print(f"status page http://localhost:{service.status_port}", file=sys.stderr)
    _collect_rarely()
    keep_freed_memory()
    asyncio.run(_run(service))
    return 0


def _explain(error: OSError, settings: ServiceSettings) -> str:
    """Say which port cannot be opened, and by which flag another is chosen."""
    ports = {
        "--admission-port": settings.admission_port,
        "--control-port": settings.control_port,
        "--metrics-port": settings.metrics_port,
        "--status-port": settings.status_port,
    }
    for flag, port in ports.items():
        if port and f", {port})" in str(error):
            return f"port {port} is in use or not allowed: choose another with {flag}"
    return f"a port cannot be opened: {describe(error)}"


def _port(text: str) -> int:
    """Read a port; 0 lets the system choose one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port from 0 to 65535")
    return int(text)


def _service(given: argparse.Namespace, settings: ServiceSettings, platform: Platform) -> Service:
    if not given.cluster:
        return Service(
            settings, platform, folder_backend(given.manifests, given.tokens, given.certs)
        )
    # Imported only here: an injector on a folder does not load the client, which takes 24 MB.
    from injector.kube.api.client import connect
    from injector.kube.backend import ClusterSettings, Observers, cluster_backend
    from injector.kube.objects.replicas import ReplicaSettings
    from injector.kube.objects.service_address import ServiceAddress

    client, metrics = connect(), InjectorMetrics()
    address: ServiceAddress | None = None
    if platform.control is not None:
        control = platform.control
        if control.url == ControlAddress().url:
            control = replace(control, url=f"https://{given.service}.{given.namespace}.svc:8444")
        if not control.address:
            address = ServiceAddress(client, given.namespace, given.service)
            control = replace(control, address=address.read())
        platform = replace(platform, control=control)
    replicas = None
    if given.replica_token is not None:
        replicas = ReplicaSettings(given.service, given.replica_token, socket.gethostname())
    where = ClusterSettings(
        given.namespace,
        given.ca_secret,
        given.lease,
        given.webhook_configuration,
        given.policy_secret,
        given.ca_bundle_map,
        given.certificate_secret,
        publishes_to_webhook=not given.webhook_is_given,
        replicas=replicas,
    )
    failures = metrics.watch_failures.labels
    observers = Observers(lambda kind: failures(kind).inc(), metrics.show_troubles)
    backend = cluster_backend(client, where, platform, observers, address=address)
    return Service(settings, platform, backend, metrics)


def _collect_rarely() -> None:
    # With 10,000 streams, one full collection blocks all responses for 0.7 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


async def _run(service: Service) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    admission, control, metrics = service.ports
    ports = {"admission": admission, "control": control, "metrics": metrics}
    logger.info("serving", extra={**ports, "status": service.status_port})
    await service.run(stop)
