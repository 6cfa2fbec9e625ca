"""Pods within manifests: a Pod itself, or the pod template of a workload."""

import copy
from typing import Any, NamedTuple

import jsonpatch

from injector.commands.inputs import Offline
from injector.errors import ObjectError
from injector.model.admission.daemonsets import prepare
from injector.model.admission.decide import Decision, decide
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason
from injector.model.cluster import names
from injector.model.cluster.objects import labels_of, name_of, namespace_of

TEMPLATE_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "PodTemplate": ("template",),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

_TEMPLATE = ("spec", "template")
"""Path of the pod template in custom kinds, such as Argo's Rollout."""


class Treated(NamedTuple):
    """One object after injection; `decision` is None if it contains no pod."""

    obj: dict[str, Any]
    decision: Decision | None


def find_pod(obj: dict[str, Any]) -> dict[str, Any] | None:
    """Return the pod or pod template of an object, None if it has none."""
    kind = str(obj.get("kind"))
    found: Any = obj
    for key in _path(obj):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return None
    spec = found.get("spec")
    is_pod = kind in TEMPLATE_PATHS or (isinstance(spec, dict) and "containers" in spec)
    return found if is_pod else None


def _path(obj: dict[str, Any]) -> tuple[str, ...]:
    return TEMPLATE_PATHS.get(str(obj.get("kind")), _TEMPLATE)


def replace_pod(obj: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    """Return the object with another pod or pod template."""
    path = _path(obj)
    if not path:
        return pod
    replaced = copy.deepcopy(obj)
    parent = replaced
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = pod
    return replaced


def decide_offline(obj: dict[str, Any], offline: Offline) -> Decision | None:
    """Decide about an object's pod as the webhook would; return None if it has no pod."""
    pod = find_pod(obj)
    if pod is None:
        return None
    is_template = bool(_path(obj))
    return decide(
        pod,
        namespace_of(obj) or offline.namespace,
        offline.cluster,
        offline.platform,
        workload=name_of(obj) if is_template else "",
    )


def inject_object(obj: dict[str, Any], offline: Offline) -> Treated:
    """Inject an object's pod, or complete a DaemonSet of a node proxy.

    Raises:
        ObjectError: the object is malformed.
    """
    if obj.get("kind") == "DaemonSet" and names.ROLE_LABEL in labels_of(obj):
        reason, operations = prepare(obj, offline.platform, offline.ca_bundle)
        if reason is Reason.PREPARED:
            return Treated(_apply(obj, operations), Decision(reason))
    decision = decide_offline(obj, offline)
    pod = find_pod(obj)
    if decision is None or pod is None:
        return Treated(obj, None)
    operations = patch(pod, decision, offline.platform, offline.ca_bundle)
    return Treated(replace_pod(obj, _apply(pod, operations)), decision)


def _apply(obj: dict[str, Any], operations: Any) -> dict[str, Any]:
    try:
        applied: dict[str, Any] = jsonpatch.apply_patch(obj, operations)
    except jsonpatch.JsonPatchException as error:
        raise ObjectError("", f"the patch does not apply: {error}") from error
    return applied


def describe_object(obj: dict[str, Any], namespace: str) -> str:
    """Return an object's kind, namespace and name for display."""
    metadata = obj.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    name = fields.get("name") or fields.get("generateName") or "?"
    return f"{obj.get('kind')} {fields.get('namespace') or namespace}/{name}"
