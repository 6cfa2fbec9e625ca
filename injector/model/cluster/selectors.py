"""Kubernetes' label selectors: `matchLabels` and `matchExpressions`.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from collections.abc import Mapping

from injector.model.cluster.objects import Object, get_list, get_mapping, get_strings, get_text


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches labels; an empty one matches all.

    Raises:
        ObjectError: the selector is malformed.
    """
    wanted = get_strings(selector, "matchLabels")
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(item, labels) for item in get_list(selector, "matchExpressions"))


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key = get_text(expression, "key")
    operator = get_text(expression, "operator")
    values = expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return False


def selects_namespace(selector: Object, own: str, name: str) -> bool:
    """Return whether a monitor's `namespaceSelector` matches a namespace; absent means its own.

    Raises:
        ObjectError: the selector is malformed.
    """
    block = get_mapping(selector, "namespaceSelector")
    if block.get("any") is True:
        return True
    return name in (block.get("matchNames") or (own,))
