"""Detects pods for Windows nodes, by every way in which a pod can declare it.

Source: https://kubernetes.io/docs/concepts/windows/user-guide/
"""

from injector.model.cluster.objects import Object, get_list, get_mapping, get_text

_OS_LABELS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_BUILD_LABEL = "node.kubernetes.io/windows-build"
_WINDOWS, _LINUX = "windows", "linux"


def is_windows(spec: Object) -> bool:
    """Return whether a pod's spec allows Windows nodes only.

    Raises:
        ObjectError: a field has the wrong type.
    """
    if get_text(get_mapping(spec, "os", "spec"), "name", "spec.os") == _WINDOWS:
        return True
    selector = get_mapping(spec, "nodeSelector", "spec")
    if any(selector.get(label) == _WINDOWS for label in _OS_LABELS):
        return True
    if _BUILD_LABEL in selector or _has_options(spec, "spec"):
        return True
    containers = get_list(spec, "containers", "spec")
    if any(_has_options(container, "spec.containers[]") for container in containers):
        return True
    node = get_mapping(get_mapping(spec, "affinity", "spec"), "nodeAffinity", "spec.affinity")
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    required = get_mapping(node, field, "spec.affinity.nodeAffinity")
    terms = get_list(required, "nodeSelectorTerms", field)
    return bool(terms) and all(map(_wants_windows, terms))


def _has_options(parent: Object, path: str) -> bool:
    context = get_mapping(parent, "securityContext", path)
    return bool(get_mapping(context, "windowsOptions", f"{path}.securityContext"))


def _wants_windows(term: Object) -> bool:
    return any(map(_means_windows, get_list(term, "matchExpressions", "nodeSelectorTerms[]")))


def _means_windows(expression: Object) -> bool:
    key, operator = expression.get("key"), expression.get("operator")
    if key == _BUILD_LABEL:
        return operator in ("In", "Exists")
    values = set(expression.get("values") or ())
    return key in _OS_LABELS and (
        (operator == "In" and values == {_WINDOWS}) or (operator == "NotIn" and _LINUX in values)
    )
