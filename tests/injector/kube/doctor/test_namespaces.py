"""Checks of labelled namespaces."""

import pytest

from injector.kube.doctor.namespaces import look_at_namespaces
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, deployment, listed

_PORTS = [{"name": "livery", "containerPort": 1}]
_PROXIED = {"containers": [{"name": "livery-proxy", "ports": _PORTS}]}
_SHOP = {"metadata": {"name": "shop", "labels": {"livery.dev/inject": "enabled"}}}


def test_where_no_namespace_asks_the_command_that_labels_one_is_said(holding: Holding) -> None:
    with holding({"/api/v1/namespaces": listed([])}) as client:
        (finding,) = look_at_namespaces(client, INSTALLATION)

    assert finding.is_well
    assert finding.remedy == "kubectl label namespace NAME livery.dev/inject=enabled"


@pytest.mark.parametrize(
    ("container", "reason", "is_told"),
    [
        ("livery-proxy", "ImagePullBackOff", True),
        ("livery-proxy", "PodInitializing", False),
        ("web", "ImagePullBackOff", False),
    ],
)
def test_a_proxy_that_waits_for_its_image_is_named(
    holding: Holding, container: str, reason: str, is_told: bool
) -> None:
    waiting = {"name": container, "state": {"waiting": {"reason": reason}}}
    metadata: Json = {"name": "web-0", "namespace": "shop"}
    spec = {"initContainers": [{"name": "livery-proxy", "image": "livery-sidecar:1"}]}
    status = {"initContainerStatuses": [waiting]}
    metadata["labels"] = {"livery.dev/proxy": "pod"}
    pod: Json = {"metadata": metadata, "spec": spec, "status": status}
    objects = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces": listed([_SHOP]),
        "/api/v1/namespaces/shop/pods": listed([pod]),
    }
    with holding(objects) as client:
        problems = [item for item in look_at_namespaces(client, INSTALLATION) if not item.is_well]

    sentence = "shop/web-0 cannot pull the proxy's image: ImagePullBackOff"
    assert [item.sentence for item in problems] == ([sentence] if is_told else [])


def test_a_namespace_that_cannot_be_looked_at_hides_no_other(holding: Holding) -> None:
    bank = {"metadata": {"name": "bank", "labels": {}}}
    objects = {
        "/api/v1/namespaces": listed([bank, _SHOP]),
        "/api/v1/namespaces/bank/pods": listed([{"metadata": {"labels": ["x"]}, "spec": _PROXIED}]),
        "/api/v1/namespaces/shop/pods": listed([]),
    }
    with holding(objects) as client:
        sentences = [item.sentence for item in look_at_namespaces(client, INSTALLATION)]

    assert any(text.startswith("bank: cannot be checked: metadata.") for text in sentences)
    assert sentences[-1] == "shop: 0 pods have a proxy"
