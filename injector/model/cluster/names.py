"""Livery's own names in Kubernetes objects."""

import re

PROXY_CONTAINER = "livery-proxy"
TOKEN_VOLUME = "livery-token"  # noqa: S105 - a volume's name
TOKEN_AUDIENCE = "livery-control"  # noqa: S105 - an audience's name
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"

INJECT = "livery.dev/inject"
PORT = "livery.dev/port"
TARGETS = "livery.dev/targets"
SIDECAR = "livery.dev/sidecar"
FILTER = "livery.dev/filter"
JOB = "livery.dev/job"
NAMESPACE_LABEL = "livery.dev/namespace-label"
PASS_HEADERS = "livery.dev/pass-headers"  # noqa: S105 - an annotation
FALLBACK_PROTOCOL = "livery.dev/fallback-protocol"
LIMIT = "livery.dev/{}-limit"
STATUS = "livery.dev/status"
ORIGINAL = "livery.dev/original"
PROXY_LABEL = "livery.dev/proxy"
ROLE_LABEL = "livery.dev/role"
METRIC_SOURCES = "livery.dev/metric-sources"
CONTROL_CA_BUNDLE = "livery.dev/control-authorities"
CONTROL_ADDRESS = "livery.dev/control-address"
RESOURCES = {
    ("requests", "cpu"): "livery.dev/cpu-request",
    ("limits", "cpu"): "livery.dev/cpu-limit",
    ("requests", "memory"): "livery.dev/memory-request",
    ("limits", "memory"): "livery.dev/memory-limit",
}

MIRROR_POD = "kubernetes.io/config.mirror"
SYSTEM_NAMESPACES = frozenset(["kube-system", "kube-public", "kube-node-lease"])
MESH_CONTAINERS = frozenset(
    [
        "istio-init",
        "istio-validation",
        "istio-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-proxy",
    ]
)

SCRAPE_KEYS = ("scrape", "port", "path", "scheme")
SCRAPE_SPELLING = re.compile(r"prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9](scrape|port|path|scheme)")
"""Every spelling of `prometheus.io/…` that scrape configurations in use understand."""
SCRAPE_SLOW_SPELLING = re.compile(r"prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9]scrape[^a-zA-Z0-9]slow")
"""What the community's chart scrapes less often; its port and path are those of the others."""
