"""Gateways: whether each has rules and Prometheus servers, and may be told of tenants."""

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
    """Whether every gateway answers, and no application can pass for another tenant's."""
    pods = find_all(client, "/api/v1/pods", MAX_PODS, labelSelector="livery.dev/proxy=gateway")
    if not pods:
        return
    platform = read_platform(client, installation)
    for pod in pods:
        yield from _look_at(client, installation, pod, platform)
    if platform is not None and platform.gateway_namespace_label not in platform.labels.protected:
        label = platform.gateway_namespace_label
        sentence = (
            f"applications can write the label {label} themselves, and so appear in another "
            "tenant's answers (unless Prometheus sees to it: enforcedNamespaceLabel)"
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
        yield Finding(False, f"{shown} does not run", remedy)
        return
    account = str(get_mapping(pod, "spec").get("serviceAccountName") or "default")
    if platform is not None and f"{namespace}/{account}" not in platform.gateways:
        sentence = f"{shown}: {namespace}/{account} is not granted what tenants may see"
        granted = ",".join([*platform.gateways, f"{namespace}/{account}"])
        remedy = installation.reapply(f"'control.grants.gateways={{{granted}}}'")
        yield Finding(False, sentence, remedy)
        return
    try:
        health = json.loads(client.read_text(admin_path(namespace, name, port, "health")))
    except (KubeError, ValueError) as error:
        yield Finding(False, f"{shown} cannot be asked: {error}", log)
        return
    yield _judge(shown, health if isinstance(health, dict) else {}, platform, log)


def _say_none(shown: str, platform: Platform | None) -> tuple[str, str]:
    """Say that a gateway knows no Prometheus, and what to change."""
    found = () if platform is None else platform.backends
    if not found:
        sentence = f"{shown} knows no Prometheus to ask"
        return sentence, "set gateway.backends.static, or gateway.backends.discovery"
    looked = "; ".join(
        f"{item.kind} with {item.label_selector or 'any label'} in "
        f"{', '.join(item.namespaces) or 'all namespaces'}"
        for item in found
    )
    sentence = (
        f"{shown} knows no Prometheus to ask: gateway.backends.discovery finds none ({looked})"
    )
    first = found[0]
    where = f"-n {first.namespaces[0]}" if first.namespaces else "-A"
    return sentence, f"kubectl get {first.kind.lower()} {where} -l '{first.label_selector}'"


def _judge(shown: str, health: Mapping[str, Any], platform: Platform | None, log: str) -> Finding:
    targets, healthy = health.get("targets") or 0, health.get("healthy_targets") or 0
    if health.get("error"):
        return Finding(False, f"{shown} answers nobody: {health['error']}", log)
    if not targets:
        return Finding(False, *_say_none(shown, platform))
    if healthy < targets:
        sentence = f"{shown}: {targets - healthy} of {targets} Prometheus servers do not answer"
        return Finding(False, sentence, log)
    if not health.get("tenants"):
        sentence = f"{shown}: no MetricAccess object shows anything, so every tenant sees nothing"
        return Finding(False, sentence, "kubectl get metricaccess --all-namespaces")
    tenants = health["tenants"]
    plural = "s" if tenants != 1 else ""
    return Finding(True, f"{shown}: {tenants} tenant{plural}, {healthy} of {targets} Prometheus up")
