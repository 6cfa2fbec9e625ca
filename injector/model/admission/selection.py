"""Which namespaces the webhook selects."""

from injector.model.cluster.objects import Namespace
from injector.model.cluster.selectors import selects
from injector.platform.settings import Platform


def is_enabled(namespace: Namespace | None, platform: Platform) -> bool:
    """Return whether new pods of a namespace go to the webhook.

    Raises:
        ObjectError: the platform's selector is malformed.
    """
    if namespace is None or not namespace.is_labelled:
        return False
    return selects(platform.selection.namespaces, namespace.labels)
