"""Completes DaemonSets of node proxies with the fields that their author did not set.

A DaemonSet labelled `livery.dev/role: node` may be five lines long. Fields that are set stay, so
GitOps sees no drift, and completing a completed object changes nothing.
"""

import copy
from collections.abc import Mapping
from typing import Any

from injector.errors import ObjectError
from injector.model.admission.outcomes import Reason
from injector.model.admission.patch import Operation, pointer
from injector.model.admission.templates import (
    NON_ROOT_USER,
    container_ports,
    control_variables,
    field_variable,
    render_token_volume,
    security_context,
)
from injector.model.cluster import names
from injector.model.cluster.objects import Object, get_list, get_mapping, labels_of, name_of
from injector.platform.settings import Platform

NODE_PORT = 8080
NODE_ADMIN_PORT = 8081
SERVICE_ACCOUNT = "livery-node"
CONTROL_TOKEN_DIRECTORY = "/var/run/secrets/livery"  # noqa: S105 - a path
_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "192Mi"},
}


_WHOLE = frozenset(["resources", "readinessProbe"])
"""Fields that are never merged: a probe, for example, may have only one handler."""


def prepare(
    daemonset: Object, platform: Platform, ca_bundle: str = ""
) -> tuple[Reason, list[Operation]]:
    """Return the operations that complete a DaemonSet.

    Args:
        daemonset: the raw object.
        platform: the platform's settings.
        ca_bundle: PEM of the CAs that sign the control service.

    Raises:
        ObjectError: the DaemonSet is malformed.
    """
    if labels_of(daemonset).get(names.ROLE_LABEL) != "node":
        return Reason.NOT_A_PROXY, []
    spec = get_mapping(daemonset, "spec")
    completed = complete(spec, name_of(daemonset), platform, ca_bundle)
    operations: list[Operation] = []
    if daemonset.get("spec") is None:
        operations.append({"op": "add", "path": "/spec", "value": completed})
    else:
        _difference(spec, completed, ("spec",), operations)
    return Reason.PREPARED, operations


def complete(spec: Object, name: str, platform: Platform, ca_bundle: str) -> dict[str, Any]:
    """Return a DaemonSet's spec with everything that a node proxy needs."""
    completed = copy.deepcopy(dict(spec))
    selector = get_mapping(completed, "selector", "spec")
    labels = dict(get_mapping(selector, "matchLabels", "spec.selector"))
    template = _child(completed, "template", "spec")
    metadata = _child(template, "metadata", "spec.template")
    template_labels = _child(metadata, "labels", "spec.template.metadata")
    if not selector:
        labels = {
            key: str(value)
            for key, value in template_labels.items()
            if key == "app.kubernetes.io/name"
        } or {"app.kubernetes.io/name": _label_value(name) or "livery-node"}
        completed["selector"] = {"matchLabels": labels}
    _fill(template_labels, {**labels, names.PROXY_LABEL: "node"})
    if completed.get("updateStrategy") is None:
        completed["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": "10%"}}
    pod = _child(template, "spec", "spec.template")
    _fill(
        pod,
        {
            "serviceAccountName": SERVICE_ACCOUNT,
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    )
    secrets = [{"name": name} for name in platform.image_pull_secrets]
    if secrets:
        _add_missing(pod, "imagePullSecrets", secrets, "name")
    if pod.get("hostNetwork") is True:
        _fill(pod, {"dnsPolicy": "ClusterFirstWithHostNet"})
    is_root = get_mapping(pod, "securityContext", "spec.template.spec").get("runAsUser") == 0
    user = NON_ROOT_USER if is_root else None
    _fill_container(pod, _container(platform, ca_bundle, user))
    _add_missing(pod, "volumes", [render_token_volume(names.TOKEN_VOLUME)], "name")
    return completed


def _label_value(name: str) -> str:
    """Truncate an object's name to a valid label value."""
    return name[:63].rstrip("-._")


def _container(platform: Platform, ca_bundle: str, user: int | None) -> dict[str, Any]:
    token_file = f"{CONTROL_TOKEN_DIRECTORY}/token"
    return {
        "name": names.PROXY_CONTAINER,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": ["livery-proxy"],
        "args": ["--role=node", "--auth=token"],
        "env": [
            field_variable("NODE_NAME", "spec.nodeName"),
            field_variable("NODE_IP", "status.hostIP"),
            *control_variables(platform, ca_bundle, token_file),
        ],
        "ports": container_ports(NODE_PORT, NODE_ADMIN_PORT),
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "livery-admin"},
            "periodSeconds": 5,
        },
        "resources": _RESOURCES,
        "securityContext": security_context(user),
        "volumeMounts": [
            {"name": names.TOKEN_VOLUME, "mountPath": CONTROL_TOKEN_DIRECTORY, "readOnly": True}
        ],
    }


def _child(parent: dict[str, Any], field: str, path: str) -> dict[str, Any]:
    value = parent.get(field)
    if value is None:
        value = parent[field] = {}
    if not isinstance(value, dict):
        raise ObjectError(f"{path}.{field}", "a mapping is needed")
    return value


def _fill(present: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Add missing fields; complete existing mappings, and keep all other existing values."""
    for key, value in wanted.items():
        if present.get(key) is None:
            present[key] = copy.deepcopy(value)
        elif isinstance(value, dict) and isinstance(present[key], dict) and key not in _WHOLE:
            _fill(present[key], value)


def _fill_container(pod: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Add the proxy's container, or complete the existing one."""
    path = "spec.template.spec"
    present = [dict(item) for item in get_list(pod, "containers", path)]
    pod["containers"] = present
    same = next((item for item in present if item.get("name") == wanted["name"]), None)
    if same is None:
        present.append(copy.deepcopy(wanted))
        return
    # Avoid duplicates: a path mounted twice is refused, a port twice breaks server-side apply.
    for field, key in (("env", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath")):
        _add_missing(same, field, wanted[field], key)
    _fill(same, wanted)


def _add_missing(
    parent: dict[str, Any], field: str, wanted: list[dict[str, Any]], key: str
) -> None:
    """Add items that have no existing counterpart; existing items stay unchanged.

    Merging could produce invalid items, such as a variable with both `value` and `valueFrom`.
    """
    present = get_list(parent, field, "spec.template.spec")
    names_taken = {str(item.get("name")) for item in present}
    keys_taken = {str(item.get(key)) for item in present}
    missing = [
        copy.deepcopy(item)
        for item in wanted
        if item["name"] not in names_taken and str(item[key]) not in keys_taken
    ]
    parent[field] = [*present, *missing]


def _difference(
    old: object, new: object, path: tuple[str, ...], operations: list[Operation]
) -> None:
    """Append an operation for each addition or change; nothing is ever removed."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            if key not in old:
                operations.append({"op": "add", "path": pointer(*path, key), "value": value})
            else:
                _difference(old[key], value, (*path, key), operations)
    elif old != new:
        operations.append({"op": "replace", "path": pointer(*path), "value": new})
