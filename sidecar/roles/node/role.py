"""Role `node`: serves kubelet metrics, adding labels while the text streams through."""

import asyncio
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

from sidecar import VERSION
from sidecar.auth.tokens import TokenAuthorizer
from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.control.reports import ProxyState
from sidecar.control.source import PolicySource
from sidecar.errors import SettingsError, TargetError
from sidecar.http.messages import Request, Response, failed, plain
from sidecar.http.server import Server
from sidecar.http.tls import ServedCertificate
from sidecar.kubelet.client import KubeletSettings
from sidecar.kubelet.discovery.targets import NodeDiscovery
from sidecar.kubelet.proxy import KubeletProxy
from sidecar.model.policy.node import (
    KUBELET_ENDPOINTS,
    NODE_KEYS,
    NodeChange,
    NodePolicy,
    parse_node_policy,
)
from sidecar.model.rewrite.encoding import EncodedPolicy
from sidecar.process.admin import answer_admin
from sidecar.process.logs import configure_logs
from sidecar.process.metrics import Telemetry, observe_process
from sidecar.process.ports import Listener, Ports, serve
from sidecar.process.readiness import Obstacle, Readiness, Reason
from sidecar.roles.node.metrics import METRICS, PREFIX
from sidecar.roles.node.settings import NodeSettings, parse_node_settings

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
"""For a proxy that serves all nodes: Prometheus keeps one connection per node and path."""
MAX_UNDER_WAY = 64
"""Concurrent scrapes of all nodes; each keeps its series in memory until it ends."""
DRAIN_SECONDS = 15.0
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NODE_PATH = re.compile(r"/nodes/([a-z0-9.-]{1,253})(/[a-z/]+)")
_JSON = "application/json"
_TARGETS = "/targets"


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> "NodeRole":
    """Create the role from a command line.

    Raises:
        SettingsError: an argument is invalid, or a file or service that it names cannot be used.
    """
    settings = parse_node_settings(arguments, environ)
    configure_logs(settings.log_level)
    return NodeRole(settings)


class NodeRole:
    """One proxy in the node role.

    Raises:
        SettingsError: the kubelet's or the control service's address or CA cannot be used.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._telemetry = Telemetry(METRICS)
        self._telemetry.set(f"{PREFIX}_build_info", 1, version=VERSION)
        self.policy = NodePolicy()
        self._encoded = EncodedPolicy(self.policy.series)
        self.source: PolicySource[NodeChange] = PolicySource(
            self._apply, "the namespaces' labels have not arrived yet"
        )
        self._scrape_slots = asyncio.Semaphore(MAX_UNDER_WAY)
        self.kubelets: OrderedDict[str, KubeletProxy] = OrderedDict()
        """By node name, most recently scraped last; a single kubelet has the empty name."""
        if not settings.serves_all_nodes:
            self.kubelets[""] = self._make_kubelet("")
        self._discovery: NodeDiscovery | None = None
        if settings.discovers:
            self._discovery = NodeDiscovery(settings.discovery_file, self._kubelet_settings)
        self._authorizers: dict[str, TokenAuthorizer] = {}
        """By the subresource of nodes that callers must be allowed to get; empty without tokens."""
        self._start_policy()
        self._certificate = _read_certificate(settings.certificate)
        self._admin_certificate = _read_certificate(settings.admin_certificate)
        self.data = Server(
            self.handle_data,
            max_connections=MAX_CONNECTIONS if settings.serves_all_nodes else 32,
        )
        self.admin = Server(self.handle_admin)
        self.secure_admin = Server(self.handle_admin)
        self.ports = Ports(self.source.changed)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish requests in flight."""
        for note in self._settings.notes:
            logger.info(note)
        self.source.read()
        await serve(self.ports, self._listeners(), self._tasks(), stop)
        for kubelet in self.kubelets.values():
            kubelet.close()
        if self._discovery is not None:
            await self._discovery.close()

    def _listeners(self) -> list[Listener]:
        settings = self._settings
        tls = None if self._certificate is None else self._certificate.tls
        listeners = [
            Listener(self.data, settings.port, "metrics", tls, DRAIN_SECONDS),
            Listener(self.admin, settings.admin_port, "admin"),
        ]
        if self._admin_certificate is not None:
            tls = self._admin_certificate.tls
            secure = Listener(self.secure_admin, settings.secure_admin_port, "admin over TLS", tls)
            listeners.append(secure)
        return listeners

    def _tasks(self) -> list[Callable[[], Awaitable[None]]]:
        certificates = [self._certificate, self._admin_certificate]
        followed = [one.follow for one in certificates if one is not None]
        return [*followed, *self.source.tasks(self.report)]

    async def handle_data(self, request: Request) -> Response:
        """Handle a request on the data port."""
        endpoint, node = self._route(request.path)
        if not endpoint:
            return plain(404, f"not found; paths served here: {', '.join(self._served())}")
        if request.method != "GET":
            return plain(405, "only GET is served here")._replace(headers=(("Allow", "GET"),))
        return self._count(endpoint, await self._answer(endpoint, node, request))

    async def handle_admin(self, request: Request) -> Response:
        """Handle a request on the admin port."""
        return answer_admin(request.path, self.readiness(), self._render_metrics)

    def report(self) -> dict[str, object]:
        """Return the report to the control service."""
        targets = [state for kubelet in self.kubelets.values() for state in kubelet.states()]
        # Failed targets first: a report holds a bounded number of targets.
        targets.sort(key=lambda target: not target.error)
        samples = sum(target.samples for target in targets)
        faults = self.readiness().sentences
        return self.source.report(ProxyState("node", faults, targets, samples))

    def readiness(self) -> Readiness:
        """Return whether scrapes are served, and if not, why."""
        return Readiness.of([Obstacle(Reason.POLICY, self.source.fault)], self.ports.faults)

    def _route(self, path: str) -> tuple[str, str]:
        """Return a path's endpoint and node; the endpoint is empty if the path is not served."""
        if path == _TARGETS and self._discovery is not None:
            return path, ""
        if not self._settings.serves_all_nodes:
            return (path, "") if path in KUBELET_ENDPOINTS else ("", "")
        if path == "/nodes":
            return path, ""
        found = _NODE_PATH.fullmatch(path)
        if found is None:
            return "", ""
        is_served = found[2] in KUBELET_ENDPOINTS or (
            found[2] == _TARGETS and self._discovery is not None
        )
        return (found[2], found[1]) if is_served else ("", "")

    def _served(self) -> list[str]:
        is_all = self._settings.serves_all_nodes
        served = (
            [f"/nodes/NAME{path}" for path in KUBELET_ENDPOINTS]
            if is_all
            else list(KUBELET_ENDPOINTS)
        )
        has_targets = self._discovery is not None
        extra = [
            ("/nodes", is_all), (_TARGETS, has_targets),
            (f"/nodes/NAME{_TARGETS}", is_all and has_targets),
        ]  # fmt: skip
        return served + [path for path, is_there in extra if is_there]

    async def _answer(self, endpoint: str, node: str, request: Request) -> Response:
        authorizer = self._authorizers.get("pods" if endpoint == _TARGETS else "metrics")
        refusal = None if authorizer is None else await authorizer.authorize(request.headers)
        if refusal is not None:
            response = plain(refusal.status, refusal.sentence)
            if refusal.status == 401:
                response = response._replace(headers=(("WWW-Authenticate", "Bearer"),))
            return response
        if self.source.fault:
            return plain(503, self.source.fault)
        if endpoint == "/nodes":
            return self._tell_nodes(request)
        if node and node not in self.policy.nodes:
            return plain(404, f"there is no node {node!r}")
        if endpoint == _TARGETS and self._discovery is not None:
            return await self._tell_targets(self._discovery, node, request)
        try:
            kubelet = self._find_kubelet(node)
        except SettingsError as error:  # the policy's address of the node is invalid
            return failed(error)
        return await kubelet.scrape(endpoint, request)

    async def _tell_targets(
        self, discovery: NodeDiscovery, node: str, request: Request
    ) -> Response:
        """Return the pods of one node, or of all nodes, as targets."""
        nodes = [node]
        if self._settings.serves_all_nodes and not node:
            nodes = sorted(self.policy.nodes)
            if not nodes:
                return plain(503, "no node is known yet")
            await discovery.forget_others(nodes)
        return await discovery.answer(request, nodes, self.policy.namespace_labels)

    def _tell_nodes(self, request: Request) -> Response:
        """List every node's endpoints as targets, all at the address in the Host header."""
        asked = parse_qs(request.query).get("endpoint", ["/metrics/cadvisor"])
        address = request.headers.get("host", "")
        if not set(asked) <= set(KUBELET_ENDPOINTS):
            return plain(400, f"endpoint must be one of {', '.join(KUBELET_ENDPOINTS)}")
        if _HOST.fullmatch(address) is None:
            return plain(400, "the Host header is missing or invalid; targets get its address")
        groups = [
            {
                "targets": [address],
                "labels": {
                    "__scheme__": "http" if self._certificate is None else "https",
                    "__metrics_path__": f"/nodes/{name}{endpoint}",
                    "__meta_kubernetes_node_name": name,
                    "instance": name,
                },
            }
            for name in sorted(self.policy.nodes)
            for endpoint in KUBELET_ENDPOINTS
            if endpoint in asked
        ]
        if not groups:
            return plain(503, "no node is known yet")
        return Response(200, json.dumps(groups).encode(), _JSON)

    def _find_kubelet(self, node: str) -> KubeletProxy:
        """Return a node's kubelet, and mark it as most recently used."""
        if node not in self.kubelets:
            self.kubelets[node] = self._make_kubelet(node)
        self.kubelets.move_to_end(node)
        return self.kubelets[node]

    def _bound_caches(self) -> None:
        """Empty the least recently scraped kubelets' caches until the rest is within the bound."""
        cached = sum(kubelet.cached_bytes for kubelet in self.kubelets.values())
        for kubelet in self.kubelets.values():
            if cached <= self._settings.cached_bytes:
                break
            cached -= kubelet.cached_bytes
            kubelet.forget()

    def _make_kubelet(self, node: str) -> KubeletProxy:
        settings = self._kubelet_settings(node)
        kubelet = KubeletProxy(
            settings,
            self._settings.text,
            self._telemetry,
            on_change=self.source.changed,
            on_scraped=self._bound_caches,
            scrape_slots=self._scrape_slots,
        )
        kubelet.apply(self._encoded, self.policy.endpoint_relabelings, None)
        return kubelet

    def _kubelet_settings(self, node: str) -> KubeletSettings:
        settings = self._settings.kubelet
        if not node:
            return settings
        if node not in self.policy.nodes:
            raise TargetError(f"there is no node {node!r}")
        return settings.of_node(node, self.policy.nodes[node])

    def _count(self, endpoint: str, response: Response) -> Response:
        code = str(response.status)
        self._telemetry.add("livery_node_scrapes_total", endpoint=endpoint, code=code)
        return response

    def _render_metrics(self) -> bytes:
        self._observe()
        return self._telemetry.render()

    def _observe(self) -> None:
        put = self._telemetry.set
        kubelets = list(self.kubelets.values())
        put("livery_node_remembered_bytes", sum(one.cached_bytes for one in kubelets))
        put("livery_node_namespaces", len(self.policy.series.namespaces or {}))
        is_all = self._settings.serves_all_nodes
        put("livery_node_kubelets", len(self.policy.nodes) if is_all else 1)
        put("livery_node_kubelet_tls_verified", int(self._settings.kubelet.is_verified))
        if self._settings.text.pod_labels is not None:
            put("livery_node_pods_up", int(not any(one.pods_error for one in kubelets)))
        is_healthy = None if self._discovery is None else self._discovery.is_healthy
        if is_healthy is not None:
            put("livery_node_discovery_up", int(is_healthy))
        self.readiness().observe(self._telemetry, PREFIX)
        observe_process(self._telemetry)
        self.source.observe(self._telemetry, PREFIX)

    # Policy

    def _start_policy(self) -> None:
        settings, source = self._settings, self.source
        if settings.control is not None:
            client = source.connect(settings.control, KeyedPolicyReceiver(NODE_KEYS))
            if settings.accounts is not None:
                self._authorizers = {
                    "metrics": TokenAuthorizer(client.ask, settings.accounts),
                    # The allowed accounts may scrape metrics, but not read pods.
                    "pods": TokenAuthorizer(client.ask, frozenset(), "pods"),
                }
        if settings.policy_file is not None:
            source.use_file(settings.policy_file, _parse_file)
        elif settings.control is None:
            source.fault = "there is no source of labels: set --policy or LIVERY_CONTROL_URL"

    def _apply(self, change: NodeChange) -> None:
        before, self.policy = self.policy, change.policy
        if change.namespaces is None:
            self._encoded = EncodedPolicy(change.policy.series)
        else:
            self._encoded.update(change.policy.series, change.namespaces)
        for name, kubelet in list(self.kubelets.items()):
            if before.nodes.get(name) == self.policy.nodes.get(name):
                kubelet.apply(self._encoded, self.policy.endpoint_relabelings, change.namespaces)
            else:
                del self.kubelets[name]
                kubelet.close()


def _parse_file(document: object) -> NodeChange:
    return NodeChange(parse_node_policy(document), None)


def _read_certificate(files: tuple[Path, Path] | None) -> ServedCertificate | None:
    return None if files is None else ServedCertificate(*files)
