import pytest

from injector.model.admission.selection import is_enabled
from injector.model.cluster.objects import Namespace
from injector.platform.settings import Platform, Selection

_LABELS = {"livery.dev/inject": "enabled", "env": "prod"}


@pytest.mark.parametrize(
    ("labels", "selector", "expected"),
    [
        (_LABELS, {}, True),
        ({"env": "prod"}, {}, False),
        (_LABELS, {"matchLabels": {"env": "prod"}}, True),
        (_LABELS, {"matchLabels": {"env": "test"}}, False),
        (_LABELS, {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_namespace_needs_the_label_and_the_platform_s_selector(
    labels: dict[str, str], selector: dict[str, object], expected: bool
) -> None:
    platform = Platform(selection=Selection(namespaces=selector))

    assert is_enabled(Namespace("shop", labels, {}), platform) is expected


def test_a_namespace_that_does_not_exist_is_not_enabled() -> None:
    assert is_enabled(None, Platform()) is False
