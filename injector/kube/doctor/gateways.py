"""Checks of gateways: each has a grant, Prometheus servers and access rules."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.admin_ports import admin_path, find_admin_port
from injector.kube.doctor.findings import MAX_PODS, Finding, Installation, find_all
from injector.kube.doctor.grants import read_platform
from injector.model.cluster.objects import get_mapping, name_of, namespace_of
from injector.platform.settings import Platform


def look_at_gateways(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check that every gateway works, and that no application can pose as another tenant's."""
    pods = find_all(client, "/api/v1/pods", MAX_PODS, labelSelector="livery.dev/proxy=gateway")
    if not pods:
        return
    platform = read_platform(client, installation)
    for pod in pods:
        yield from _look_at(client, installation, pod, platform)
    if platform is not None and platform.gateway_namespace_label not in platform.labels.protected:
        label = platform.gateway_namespace_label
        sentence = (
            f"applications can set the label {label} themselves, so their series can appear in "
            "another tenant's results (unless Prometheus sets enforcedNamespaceLabel)"
        )
        protected = ",".join(sorted({*platform.labels.protected, label, "pod"}))
        remedy = installation.reapply(f"'labels.protected={{{protected}}}'")
        yield Finding(True, sentence, remedy)


def _look_at(
    client: KubeClient, installation: Installation, pod: JsonObject, platform: Platform | None
) -> Iterator[Finding]:
    namespace, name, port = namespace_of(pod), name_of(pod), find_admin_port(pod)
    shown = f"gateway {namespace}/{name}"
    log = f"kubectl -n {namespace} logs {name} --tail=50"
    if (pod.get("status") or {}).get("phase") != "Running" or port is None:
        remedy = f"kubectl -n {namespace} describe pod {name}"
        yield Finding(False, f"{shown} is not running", remedy)
        return
    account = str(get_mapping(pod, "spec").get("serviceAccountName") or "default")
    if platform is not None and f"{namespace}/{account}" not in platform.gateways:
        sentence = f"{shown}: {namespace}/{account} is not granted the tenants' access rules"
        granted = ",".join([*platform.gateways, f"{namespace}/{account}"])
        remedy = installation.reapply(f"'control.grants.gateways={{{granted}}}'")
        yield Finding(False, sentence, remedy)
        return
    try:
        health = json.loads(client.read_text(admin_path(namespace, name, port, "health")))
    except (KubeError, ValueError) as error:
        yield Finding(False, f"{shown} cannot be queried: {error}", log)
        return
    yield _judge(shown, health if isinstance(health, dict) else {}, platform, log)


def _say_none(shown: str, platform: Platform | None) -> tuple[str, str]:
    """Return the finding that a gateway has no Prometheus server, and the fix."""
    found = () if platform is None else platform.backends
    if not found:
        sentence = f"{shown} has no Prometheus server to query"
        return sentence, "set gateway.backends.static, or gateway.backends.discovery"
    looked = "; ".join(
        f"{item.kind} with {item.label_selector or 'any label'} in "
        f"{', '.join(item.namespaces) or 'all namespaces'}"
        for item in found
    )
    sentence = (
        f"{shown} has no Prometheus server to query: gateway.backends.discovery finds none "
        f"({looked})"
    )
    first = found[0]
    where = f"-n {first.namespaces[0]}" if first.namespaces else "-A"
    return sentence, f"kubectl get {first.kind.lower()} {where} -l '{first.label_selector}'"


def _judge(shown: str, health: Mapping[str, Any], platform: Platform | None, log: str) -> Finding:
    targets, healthy = health.get("targets") or 0, health.get("healthy_targets") or 0
    if health.get("error"):
        return Finding(False, f"{shown} serves no queries: {health['error']}", log)
    if not targets:
        return Finding(False, *_say_none(shown, platform))
    if healthy < targets:
        sentence = f"{shown}: {targets - healthy} of {targets} Prometheus servers do not answer"
        return Finding(False, sentence, log)
    if not health.get("tenants"):
        sentence = f"{shown}: no MetricAccess object exposes any series, so tenants see none"
        return Finding(False, sentence, "kubectl get metricaccess --all-namespaces")
    tenants = health["tenants"]
    plural = "s" if tenants != 1 else ""
    return Finding(True, f"{shown}: {tenants} tenant{plural}, {healthy} of {targets} Prometheus up")
