"""Checks of the injector's own pods."""

import pytest

from injector.kube.doctor.installation import look_at_injector
from injector.kube.doctor.namespaces import look_at_namespaces
from injector.kube.doctor.replicas import count_cut_off, why_not_ready
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, deployment, listed
from tests.injector.kube.servers import Answer

_PODS = "/api/v1/namespaces/livery-system/pods"
_PAGES = f"{_PODS}/livery-injector-a:9090/proxy"
_METRICS = b"""\
# TYPE livery_pods_cut_off gauge
livery_pods_cut_off{namespace="shop"} 2.0
livery_pods_cut_off{namespace="bank"} 0.0
livery_pods_missing_proxy{namespace="shop"} 7.0
"""


def _pod(**status: object) -> Json:
    return {"metadata": {"name": "livery-injector-a"}, "status": status}


_WAITING = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}
_UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "no nodes"}


@pytest.mark.parametrize(
    ("pod", "readyz", "reason"),
    [
        (_pod(containerStatuses=[_WAITING]), (404, b""), "ErrImagePull: no"),
        (_pod(conditions=[_UNSCHEDULED]), (404, b""), "no nodes"),
        (_pod(), (503, b"not listed yet: Namespace\n"), "not listed yet: Namespace"),
        (_pod(), (200, b"ok\n"), ""),
        (_pod(), (403, b"{}"), ""),
    ],
)
def test_an_injector_that_is_not_ready_says_why(
    holding: Holding, pod: Json, readyz: Answer, reason: str
) -> None:
    with holding({_PODS: listed([pod]), f"{_PAGES}/readyz": readyz}) as client:
        assert why_not_ready(client, INSTALLATION).reason == reason


def test_the_reason_stands_in_the_finding(holding: Holding) -> None:
    waiting = _pod(containerStatuses=[{"state": {"waiting": {"reason": "ErrImagePull"}}}])
    with holding({**deployment(ready=0), _PODS: listed([waiting])}) as client:
        (finding,) = look_at_injector(client, INSTALLATION)

    assert finding.sentence == "0 of 2 injectors are ready: ErrImagePull"
    # A container that never ran has no log.
    assert finding.remedy.startswith("kubectl -n livery-system describe pod livery-injector-a")


def test_an_injector_that_was_scaled_to_none_is_scaled_up(holding: Holding) -> None:
    with holding(deployment(replicas=0, ready=0)) as client:
        (finding,) = look_at_injector(client, INSTALLATION)

    assert (
        finding.remedy == "kubectl -n livery-system scale deployment/livery-injector --replicas=2"
    )


def test_proxies_without_a_stream_are_counted_by_the_injector(holding: Holding) -> None:
    shop = {"metadata": {"name": "shop", "labels": {"livery.dev/inject": "enabled"}}}
    objects: dict[str, Json | Answer] = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces": listed([shop]),
        "/api/v1/namespaces/shop/pods": listed([]),
        _PODS: listed([_pod()]),
        f"{_PAGES}/metrics": (200, _METRICS),
    }
    with holding(objects) as client:
        (problem,) = [item for item in look_at_namespaces(client, INSTALLATION) if not item.is_well]

    assert problem.sentence == "shop: 2 proxies have no stream to the control service"
    assert problem.remedy == "kubectl -n shop get events --field-selector reason=ProxyCutOff"


@pytest.mark.parametrize("page", [(403, b"{}"), (200, b'livery_pods_cut_off{namespace="a"} x\n')])
def test_who_may_not_read_what_the_injector_counts_is_told_of_the_rest(
    holding: Holding, page: Answer
) -> None:
    with holding({_PODS: listed([_pod()]), f"{_PAGES}/metrics": page}) as client:
        assert count_cut_off(client, INSTALLATION) == {}
