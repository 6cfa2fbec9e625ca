from typing import Any

import pytest

from injector.model.admission.windows import is_windows

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": list(terms)}}}}


def _term(*values: str, operator: str = "In", key: str = "kubernetes.io/os") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"os": {"name": "windows"}}, {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"beta.kubernetes.io/os": "windows"}},
        {"securityContext": {"windowsOptions": {"hostProcess": True}}}, _affinity(_term("windows")),
        _affinity(_term("windows"), _term("windows", key="beta.kubernetes.io/os")),
    ],
)  # fmt: skip
def test_every_way_to_ask_for_windows_is_read(spec: dict[str, Any]) -> None:
    assert is_windows(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {}, {"os": {"name": "linux"}}, _affinity(), _affinity(_term("windows", "linux")),
        _affinity(_term("windows"), _term("linux")), _affinity(_term("windows", operator="NotIn")),
        _affinity(_term()), {"securityContext": {"windowsOptions": {}}},
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
    ],
)  # fmt: skip
def test_what_may_run_elsewhere_is_not_for_windows(spec: dict[str, Any]) -> None:
    assert not is_windows(spec)
