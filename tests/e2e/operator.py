"""The Prometheus operator in the cluster, from images built from its Go module."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import Cluster
from tests.real_parts.operator import operator_manifests, operator_program, reloader_program

_IMAGE = re.compile(r"[a-z.]+/prometheus-operator/([a-z-]+):v[0-9.]+")
"""Released images, in place of which those of this machine are used."""
_PROMETHEUS = """\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: prometheus, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {namespace}-prometheus}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: prometheus, namespace: {namespace}}}]
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {{name: k8s, namespace: {namespace}}}
spec:
  image: {image}
  imagePullPolicy: IfNotPresent
  version: v3.5.0
  serviceAccountName: prometheus
  podMonitorSelector: {{}}
  podMonitorNamespaceSelector: {{}}
  serviceMonitorSelector: {{}}
  serviceMonitorNamespaceSelector: {{}}
  ruleSelector: {{}}
  ruleNamespaceSelector: {{}}
"""


def install_operator(
    cluster: Cluster, namespace: str, build: Callable[[str, Path], str], prometheus_image: str
) -> None:
    """Install the operator and one Prometheus that reads every monitor and rule.

    Args:
        cluster: the cluster.
        namespace: an existing namespace for both.
        build: builds an image by its name from a folder; returns its reference.
        prometheus_image: the image of Prometheus.
    """
    programs = {
        "prometheus-operator": operator_program(),
        "prometheus-config-reloader": reloader_program(),
    }
    images = {name: build(name, program) for name, program in programs.items()}
    for path in operator_manifests():
        text = path.read_text().replace("namespace: default", f"namespace: {namespace}")
        text = _IMAGE.sub(lambda found: images[found[1]], text)
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    status = ("rollout", "status", "deployment/prometheus-operator", "--timeout=120s")
    cluster.kubectl("-n", namespace, *status)
    manifest = _PROMETHEUS.format(namespace=namespace, image=prometheus_image)
    cluster.kubectl("apply", "-f", "-", stdin=manifest)


def remove_operator(cluster: Cluster, namespace: str) -> None:
    """Remove the operator, its CRDs and all their objects."""
    for path in reversed(operator_manifests()):
        text = path.read_text().replace("namespace: default", f"namespace: {namespace}")
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text)
    cluster.kubectl("delete", "clusterrolebinding", f"{namespace}-prometheus")
