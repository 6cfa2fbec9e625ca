import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from injector.kube.api.client import KubeClient
from tests.injector.kube.doctor.objects import Holding, Json
from tests.injector.kube.servers import Answer, misbehaving


@pytest.fixture(scope="package")
def held() -> Iterator[tuple[KubeClient, dict[str, Json | Answer]]]:
    """One API server for all checks, and its objects by path."""
    objects: dict[str, Json | Answer] = {}

    def answer(path: str, query: dict[str, str]) -> Answer:
        if path not in objects:
            return 404, b'{"message": "not found"}'
        found = objects[path]
        return found if isinstance(found, tuple) else (200, json.dumps(found).encode())

    with misbehaving(answer) as client:
        yield client, objects


@pytest.fixture
def holding(held: tuple[KubeClient, dict[str, Json | Answer]]) -> Holding:
    """Make the API server hold the objects that a test gives."""

    @contextmanager
    def hold(objects: Mapping[str, Json | Answer]) -> Iterator[KubeClient]:
        held[1].clear()
        held[1].update(objects)
        yield held[0]

    return hold
