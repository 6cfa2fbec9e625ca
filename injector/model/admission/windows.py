"""Whether a pod is for Windows nodes: every way in which a pod can say so.

Source: https://kubernetes.io/docs/concepts/windows/user-guide/
"""

from injector.model.cluster.objects import Object, get_list, get_mapping, get_text

_OS_LABELS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_WINDOWS = "windows"


def is_windows(spec: Object) -> bool:
    """Tell whether a pod's specification means Windows nodes only.

    Raises:
        ObjectError: a field is not of its type.
    """
    if get_text(get_mapping(spec, "os", "spec"), "name", "spec.os") == _WINDOWS:
        return True
    selector = get_mapping(spec, "nodeSelector", "spec")
    if any(selector.get(label) == _WINDOWS for label in _OS_LABELS):
        return True
    context = get_mapping(spec, "securityContext", "spec")
    if get_mapping(context, "windowsOptions", "spec.securityContext"):
        return True
    node = get_mapping(get_mapping(spec, "affinity", "spec"), "nodeAffinity", "spec.affinity")
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    required = get_mapping(node, field, "spec.affinity.nodeAffinity")
    terms = get_list(required, "nodeSelectorTerms", field)
    return bool(terms) and all(map(_wants_windows, terms))


def _wants_windows(term: Object) -> bool:
    return any(
        expression.get("key") in _OS_LABELS
        and expression.get("operator") == "In"
        and set(expression.get("values") or ()) == {_WINDOWS}
        for expression in get_list(term, "matchExpressions", "nodeSelectorTerms[]")
    )
