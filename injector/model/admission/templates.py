"""What injection adds to a pod: the proxy's container and the volume with its token.

The container itself meets the restricted Pod Security standard, whatever the pod sets: admission
validates it after mutation.
Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from injector.model.admission.exposition import ExpositionSettings, render_arguments
from injector.model.cluster.names import (
    PROXY_CONTAINER,
    SERVICE_ACCOUNT_DIRECTORY,
    TOKEN_AUDIENCE,
)
from injector.platform.settings import Mesh, Platform
from sidecar import VERSION
from sidecar.model.targets import Target

NON_ROOT_USER = 65532
TOKEN_SECONDS = 3600
MAX_BOOTSTRAP_BYTES = 16 << 10


@dataclass(frozen=True, kw_only=True)
class PodProxy:
    """Everything that differs from pod to pod."""

    targets: tuple[Target, ...]
    port: int
    admin_port: int
    is_native: bool
    resources: Mapping[str, Any] | None
    run_as_user: int | None
    filters: bool
    namespace_label: str
    job: str
    exposition: ExpositionSettings
    namespace_labels: Mapping[str, str]
    """The namespace's selected labels at injection: the bootstrap policy."""
    token_volume: str


def render_container(proxy: PodProxy, platform: Platform, ca_bundle: str) -> dict[str, Any]:
    """Build the proxy's container.

    Args:
        proxy: the settings for this pod.
        platform: the platform's settings.
        ca_bundle: PEM of the CAs that sign the control service.
    """
    container: dict[str, Any] = {
        "name": PROXY_CONTAINER,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": ["livery-proxy"],
        "args": _arguments(proxy, platform),
        "env": _environment(proxy, platform, ca_bundle),
        "ports": container_ports(proxy.port, proxy.admin_port),
        "securityContext": security_context(proxy.run_as_user),
        # Mounted over the path of the application's token, to keep that token out of the proxy.
        "volumeMounts": [
            {"name": proxy.token_volume, "mountPath": SERVICE_ACCOUNT_DIRECTORY, "readOnly": True}
        ],
    }
    if proxy.is_native:
        container["restartPolicy"] = "Always"
    if proxy.resources is not None:
        container["resources"] = dict(proxy.resources)
    return container


def render_token_volume(name: str) -> dict[str, Any]:
    """Build the volume with the proxy's own token."""
    token = {"audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    return {"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}}


def security_context(run_as_user: int | None) -> dict[str, Any]:
    """Return the four fields that the restricted standard requires, and a read-only root."""
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if run_as_user is not None:
        context["runAsUser"] = run_as_user
    return context


def render_bootstrap(labels: Mapping[str, str]) -> str:
    """Return labels in the environment variable's format: sorted `key=value`, comma-separated."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def label_rules(platform: Platform) -> dict[str, Any]:
    """Return the naming part of the label rules, in the format of a policy."""
    return {
        "rename": dict(platform.labels.rename),
        "prefix": platform.labels.prefix,
        "protected": sorted(platform.labels.protected),
    }


def control_variables(platform: Platform, ca_bundle: str, token_file: str) -> list[dict[str, Any]]:
    """Return the variables with the control service's address; empty if it is disabled."""
    if platform.control is None:
        return []
    return [
        _variable("LIVERY_CONTROL_URL", platform.control.url),
        _variable("LIVERY_CONTROL_ADDRESS", platform.control.address),
        _variable("LIVERY_CONTROL_CA", ca_bundle),
        _variable("LIVERY_TOKEN_FILE", token_file),
    ]


def field_variable(name: str, path: str) -> dict[str, Any]:
    """Return a variable that contains a field of the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def container_ports(port: int, admin_port: int) -> list[dict[str, Any]]:
    """Return the proxy's two ports, with names that a PodMonitor can select."""
    return [
        {"name": "livery", "containerPort": port, "protocol": "TCP"},
        {"name": "livery-admin", "containerPort": admin_port, "protocol": "TCP"},
    ]


def template_hash(platform: Platform) -> str:
    """Return a hash of everything that only a restart changes: a pod with another is outdated.

    What the policy stream changes in a running proxy is not included.
    """
    facts: dict[str, Any] = {
        "version": VERSION,
        "image": platform.image,
        "pullPolicy": platform.image_pull_policy,
        "pullSecrets": list(platform.image_pull_secrets),
        "control": None if platform.control is None else platform.control.url,
        "targetLabel": platform.target_label,
    }
    if platform.mesh is not Mesh.NONE:
        facts["mesh"] = platform.mesh
    if platform.sidecar.extra_arguments:
        facts["extraArgs"] = list(platform.sidecar.extra_arguments)
    if platform.sidecar.extra_environment:
        facts["extraEnv"] = dict(platform.sidecar.extra_environment)
    if platform.control is None:
        facts["labelRules"] = label_rules(platform)
    return hashlib.sha256(compact_json(facts).encode()).hexdigest()[:12]


def compact_json(value: object) -> str:
    """Return JSON in the format of the chart's policy: sorted keys, no spaces, no escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _arguments(proxy: PodProxy, platform: Platform) -> list[str]:
    arguments = ["--role", "pod", "--port", str(proxy.port)]
    arguments += ["--admin-port", str(proxy.admin_port)]
    for target in proxy.targets:
        arguments += ["--target", _literal(str(target))]
    if len(proxy.targets) > 1:
        arguments += ["--target-label", platform.target_label]
    if any(target.is_guess for target in proxy.targets):
        arguments += ["--targets", "guessed"]
    if proxy.filters:
        arguments += ["--filter", "metricaccess"]
    if proxy.namespace_label:
        arguments += ["--namespace-label", proxy.namespace_label]
    arguments += render_arguments(proxy.exposition)
    return arguments + [_literal(text) for text in platform.sidecar.extra_arguments]


def _environment(proxy: PodProxy, platform: Platform, ca_bundle: str) -> list[dict[str, Any]]:
    variables = [
        *(_variable(*item) for item in sorted(platform.sidecar.extra_environment.items())),
        field_variable("LIVERY_POD_NAME", "metadata.name"),
        field_variable("LIVERY_POD_NAMESPACE", "metadata.namespace"),
        field_variable("LIVERY_POD_IP", "status.podIP"),
        _variable("LIVERY_JOB", proxy.job),
        _variable("LIVERY_NAMESPACE_LABELS", render_bootstrap(proxy.namespace_labels)),
        _variable("LIVERY_LABEL_RULES", compact_json(label_rules(platform))),
    ]
    token_file = f"{SERVICE_ACCOUNT_DIRECTORY}/token"
    return variables + control_variables(platform, ca_bundle, token_file)


def _literal(text: str) -> str:
    """Keep the kubelet from expanding `$(NAME)`, and from reading `$$` as `$`."""
    return text.replace("$", "$$")


def _variable(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": _literal(value)}
