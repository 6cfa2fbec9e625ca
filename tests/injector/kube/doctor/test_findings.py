"""Code that checks share: finding objects, and naming an installation's parts."""

import pytest

from injector.commands.inputs import parse_platform_text
from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.kube.doctor import findings
from injector.kube.doctor.findings import Installation, find, find_all
from tests.cluster.fixtures import Namespace
from tests.injector.kube.servers import misbehaving


@pytest.mark.parametrize(
    ("release", "injector"),
    [
        ("livery", "livery-injector"),
        ("x" * 60, f"{'x' * 50}-injector"),
        (f"{'x' * 49}-y", f"{'x' * 49}-injector"),
    ],
)
def test_the_injector_is_named_as_the_chart_names_it(release: str, injector: str) -> None:
    assert Installation("here", release, parse_platform_text).injector == injector


def test_all_pages_of_a_collection_are_found(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "_PAGE", 2)
    for number in range(5):
        namespace.create("configmaps", f"a-{number}")
    path = f"{namespace.path}/configmaps"
    found = find_all(client, path, 100, fieldSelector="metadata.name!=a-3")

    assert [item["metadata"]["name"] for item in found] == ["a-0", "a-1", "a-2", "a-4"]
    assert len(find_all(client, path, 3)) == 4  # pages are returned whole


def test_what_is_not_there_is_found_nowhere(client: KubeClient, namespace: Namespace) -> None:
    assert find(client, f"{namespace.path}/pods/none") is None
    assert find_all(client, "/apis/none.example/v1/things", 10) == []


@pytest.mark.parametrize("status", [403, 500])
def test_an_answer_that_says_nothing_is_no_absence(status: int) -> None:
    with misbehaving(lambda path, query: (status, b"{}")) as client:
        for look in (lambda: find(client, "/x"), lambda: find_all(client, "/x", 10)):
            with pytest.raises(KubeError) as caught:
                look()
            assert caught.value.status == status
