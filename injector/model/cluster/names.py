"""Livery's own names in Kubernetes objects."""

from sidecar.model.pods.names import FALLBACK_PROTOCOL as FALLBACK_PROTOCOL
from sidecar.model.pods.names import INJECT as INJECT
from sidecar.model.pods.names import PROXY_CONTAINER as PROXY_CONTAINER
from sidecar.model.pods.names import TARGETS as TARGETS

TOKEN_VOLUME = "livery-token"  # noqa: S105 - a volume's name
TOKEN_AUDIENCE = "livery-control"  # noqa: S105 - an audience's name
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"

PORT = "livery.dev/port"
SIDECAR = "livery.dev/sidecar"
FILTER = "livery.dev/filter"
JOB = "livery.dev/job"
NAMESPACE_LABEL = "livery.dev/namespace-label"
PASS_HEADERS = "livery.dev/pass-headers"  # noqa: S105 - an annotation
LIMIT = "livery.dev/{}-limit"
STATUS = "livery.dev/status"
ORIGINAL = "livery.dev/original"
PROXY_LABEL = "livery.dev/proxy"
ROLE_LABEL = "livery.dev/role"
REMOTE_WRITE_HOSTS = "livery.dev/remote-write-hosts"
METRIC_SOURCES = "livery.dev/metric-sources"
CONTROL_CA_BUNDLE = "livery.dev/control-authorities"
CONTROL_ADDRESS = "livery.dev/control-address"
RESOURCES = {
    ("requests", "cpu"): "livery.dev/cpu-request",
    ("limits", "cpu"): "livery.dev/cpu-limit",
    ("requests", "memory"): "livery.dev/memory-request",
    ("limits", "memory"): "livery.dev/memory-limit",
}

POD_ANNOTATIONS = frozenset([
    INJECT, TARGETS, PORT, SIDECAR, FILTER, JOB, NAMESPACE_LABEL, PASS_HEADERS, FALLBACK_PROTOCOL,
    STATUS, ORIGINAL, REMOTE_WRITE_HOSTS, METRIC_SOURCES, CONTROL_CA_BUNDLE, CONTROL_ADDRESS,
    *(LIMIT.format(name) for name in ("samples", "labels", "bytes")), *RESOURCES.values(),
])  # fmt: skip
"""Every annotation with Livery's prefix."""

MIRROR_POD = "kubernetes.io/config.mirror"
SYSTEM_NAMESPACES = frozenset(["kube-system", "kube-public", "kube-node-lease"])
