"""Pods of every kind known to cause trouble for sidecars: each admitted, running, labelled."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import TAG, Cluster, until

pytestmark = pytest.mark.timeout(600)

NAMES = f"kinds-{int(time.time())}"
_APP = ["python", "-m", "injector.commands.demo.app", "--port", "8080"]
_FIXED = {"cpu": "50m", "memory": "96Mi"}
_KINDS: dict[str, dict[str, Any]] = {
    "root": {"securityContext": {"runAsUser": 0}},
    "pod-level": {
        "resources": {
            "requests": {"cpu": "100m", "memory": "200Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        }
    },
    "guaranteed": {"container": {"resources": {"requests": _FIXED, "limits": _FIXED}}},
    "dns-default": {"dnsPolicy": "Default"},
    "no-token": {"automountServiceAccountToken": False},
    "ordinary": {"annotations": {"livery.dev/sidecar": "container"}},
    "two-targets": {"annotations": {"livery.dev/targets": "web=http://:8080,more=http://:8081"}},
}


def _pod(name: str, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
    annotations |= spec.pop("annotations", {})
    web = {"name": "web", "image": f"localhost/livery-injector:{TAG}", "command": _APP}
    containers = [{**web, **(container or {})}]
    if name == "two-targets":
        containers.append({**web, "name": "more", "command": [*_APP[:-1], "8081"]})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMES, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": containers, **spec},
    }


@pytest.fixture(scope="module")
def kinds(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace with a LimitRange and a quota, and a pod of every kind in it."""
    cluster.kubectl("create", "namespace", NAMES)
    cluster.kubectl("label", "namespace", NAMES, "livery.dev/inject=enabled", "team=frontend")
    most = {"cpu": "2", "memory": "512Mi"}
    limits = {
        "type": "Container",
        "max": most,
        "default": {"cpu": "200m", "memory": "96Mi"},
        "defaultRequest": {"cpu": "20m", "memory": "64Mi"},
    }
    bounds = [
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r", "namespace": NAMES},
         "spec": {"limits": [limits]}},
        {"apiVersion": "v1", "kind": "ResourceQuota",
         "metadata": {"name": "q", "namespace": NAMES},
         "spec": {"hard": {"limits.cpu": "32", "limits.memory": "16Gi", "pods": "50"}}},
    ]  # fmt: skip
    pods = [_pod(name, **spec) for name, spec in _KINDS.items()]
    cluster.kubectl("apply", "-f", "-", stdin=_listed(bounds))
    # A quota admits nothing before its controller has counted.
    until(lambda: "hard" in cluster.get("resourcequota", "q", "-n", NAMES).get("status", {}))
    cluster.kubectl("apply", "-f", "-", stdin=_listed(pods))
    yield cluster
    cluster.kubectl("delete", "namespace", NAMES, "--wait=false")


def _listed(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.mark.parametrize("name", _KINDS)
def test_a_pod_runs_with_its_proxy_and_wears_its_team(kinds: Cluster, name: str) -> None:
    kinds.kubectl("-n", NAMES, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    pod = kinds.get("pod", name, "-n", NAMES)
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    (proxy,) = [item for item in containers if item["name"] == "livery-proxy"]
    until(lambda: 'team="frontend"' in kinds.scrape(NAMES, name), 20)
    until(lambda: "livery_proxy_control_connected 1" in kinds.scrape(NAMES, name, 16091), 20)

    if name == "guaranteed":
        assert pod["status"]["qosClass"] == "Guaranteed"
    if name == "pod-level":
        assert proxy["resources"]["limits"]["memory"] == "96Mi"  # the LimitRange's, not ours
    if name == "root":
        assert proxy["securityContext"]["runAsUser"] == 65532
    if name == "two-targets":
        assert 'container="more"' in kinds.scrape(NAMES, name)


def test_a_pod_whose_own_bounds_leave_no_room_starts_without_a_proxy(kinds: Cluster) -> None:
    tight = _pod("tight", resources={"limits": {"cpu": "300m", "memory": "100Mi"}})
    said = kinds.kubectl("apply", "-f", "-", stdin=json.dumps(tight))
    kinds.kubectl("-n", NAMES, "wait", "--for=condition=Ready", "pod/tight", "--timeout=120s")

    assert "created" in said
    assert "initContainers" not in kinds.get("pod", "tight", "-n", NAMES)["spec"]


def test_the_application_s_own_token_is_not_in_the_proxy(kinds: Cluster) -> None:
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    code = f"import os; print(sorted(os.listdir('{path}')))"
    arguments = ("exec", "-n", NAMES, "root", "-c", "livery-proxy", "--", "python", "-c", code)
    said = kinds.kubectl(*arguments)

    assert "token" in said
    assert "namespace" not in said  # a service account's volume has it
