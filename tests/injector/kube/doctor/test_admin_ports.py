from typing import Any

import pytest

from injector.kube.doctor.admin_ports import admin_path, find_admin_port


def _pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


@pytest.mark.parametrize(
    ("pod", "port"),
    [
        (
            _pod({"name": "livery-proxy", "ports": [{"name": "livery-admin", "containerPort": 9}]}),
            9,
        ),
        (_pod({"name": "web", "ports": [{"name": "livery-admin", "containerPort": 9}]}), None),
        (_pod({"name": "livery-proxy", "ports": [{"name": "livery", "containerPort": 9}]}), None),
        (_pod(), None),
    ],
)
def test_the_admin_port_is_the_proxy_s(pod: dict[str, Any], port: int | None) -> None:
    assert find_admin_port(pod) == port


def test_it_is_asked_through_the_api_server() -> None:
    assert admin_path("a", "b", 9, "health") == "/api/v1/namespaces/a/pods/b:9/proxy/health"
