import pytest

from injector.errors import ObjectError
from injector.model.cluster.state import NO_NAMESPACE, ClusterState, Key, key_of


def _object(name: str, namespace: str = "", **metadata: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": namespace, **metadata}}


def test_an_unknown_namespace_is_none() -> None:
    assert ClusterState().namespace("blue") is None
    assert ClusterState().namespaces() == []
    assert ClusterState().in_namespace("Pod", "blue") == []


def test_namespaces_come_by_name_with_labels_and_annotations() -> None:
    cluster = ClusterState()
    cluster.put("Namespace", _object("b", labels={"team": "x"}))
    cluster.put("Namespace", _object("a", annotations={"k": "v"}))

    assert cluster.namespaces() == [("a", {}, {"k": "v"}), ("b", {"team": "x"}, {})]


def test_objects_stay_within_their_kind_and_namespace() -> None:
    cluster = ClusterState()
    cluster.put("Pod", _object("p2", "blue"))
    cluster.put("Pod", _object("p1", "blue"))
    cluster.put("LimitRange", _object("p1", "blue"))
    cluster.put("Pod", _object("p1", "green"))

    assert cluster.in_namespace("Pod", "blue") == [_object("p1", "blue"), _object("p2", "blue")]


def test_listeners_hear_changes_only() -> None:
    cluster, heard = ClusterState(), list[str]()
    cluster.listeners.append(heard.append)
    cluster.put("Namespace", _object("blue"))
    cluster.put("Pod", _object("p", "green"))
    cluster.put("Pod", _object("p", "green"))
    cluster.remove(Key("Pod", "green", "p"))
    cluster.remove(Key("Pod", "green", "p"))

    assert heard == ["blue", "green", "green"]


def test_a_replaced_object_is_the_new_one() -> None:
    cluster = ClusterState()
    cluster.put("Namespace", _object("blue", labels={"a": "1"}))
    cluster.put("Namespace", _object("blue", labels={"a": "2"}))

    assert [item.labels for item in cluster.namespaces()] == [{"a": "2"}]


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ({}, "metadata.name"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"name": 1}}, "metadata.name"),
        ({"metadata": {"name": "n", "labels": {"a": 1}}}, "metadata.labels.a"),
        ({"metadata": {"name": "n", "annotations": []}}, "metadata.annotations"),
    ],
)
def test_a_malformed_namespace_is_refused_and_not_kept(obj: dict[str, object], field: str) -> None:
    cluster = ClusterState()

    with pytest.raises(ObjectError) as caught:
        cluster.put("Namespace", obj)

    assert caught.value.field == field
    assert cluster.namespaces() == []


def test_a_generated_name_stands_in_and_namespaces_have_none() -> None:
    assert key_of("Pod", {"metadata": {"generateName": "p-"}}) == ("Pod", "", "p-")
    assert key_of("Namespace", _object("n", "odd")) == ("Namespace", "", "n")


def test_backends_are_known_once_they_were_put() -> None:
    cluster, heard = ClusterState(), list[str]()
    cluster.listeners.append(heard.append)
    assert cluster.backends() is None
    for _ in range(2):
        cluster.put_backends([])

    assert cluster.backends() == []
    assert heard == [NO_NAMESPACE]
