"""Objects of an installation, for the doctor's checks."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from injector.commands.inputs import parse_platform_text
from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Installation
from tests.injector.kube.servers import Answer

Json = dict[str, Any]
INSTALLATION = Installation("livery-system", "livery", parse_platform_text)


Holding = Callable[[Mapping[str, Json | Answer]], AbstractContextManager[KubeClient]]
"""Gives a client of an API server that holds these objects, or pages, by path, and no others."""


def listed(items: Iterable[Json]) -> Json:
    """A list of objects, as the API server returns it."""
    return {"metadata": {}, "items": list(items)}


def deployment(*arguments: str, replicas: int = 2, ready: int = 2) -> dict[str, Json]:
    """The injector's Deployment, at its path."""
    template = {"spec": {"containers": [{"name": "injector", "args": list(arguments)}]}}
    found = {
        "spec": {"replicas": replicas, "template": template},
        "status": {"readyReplicas": ready},
    }
    return {"/apis/apps/v1/namespaces/livery-system/deployments/livery-injector": found}
