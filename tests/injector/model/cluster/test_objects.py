"""Raw objects: a field of the wrong type is an error that names it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from injector.errors import ObjectError
from injector.model.cluster.objects import (
    annotations_of,
    get_list,
    get_mapping,
    get_names,
    get_strings,
    get_text,
    labels_of,
    name_of,
    namespace_of,
    running_containers,
)
from tests.injector.model.pods import JSON

_READERS: list[tuple[Callable[..., Any], object]] = [
    (get_mapping, {}),
    (get_list, []),
    (get_strings, {}),
    (get_text, ""),
    (get_names, []),
]


@pytest.mark.parametrize(("read", "empty"), _READERS)
def test_what_is_absent_or_null_is_empty(read: Callable[..., Any], empty: object) -> None:
    assert read({}, "field") == read({"field": None}, "field") == empty


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (get_mapping, [5, True, False, [], "text"]),
        (get_list, [5, {}, "", [1], [{}, []]]),
        (get_strings, [5, False, [], {"a": 1}, {"a": {}}]),
        (get_text, [5, 0, False, [], {}]),
        (get_names, [5, {}, [1], [{"name": 5}]]),
    ],
)
def test_what_is_of_another_type_is_an_error_with_its_path(
    read: Callable[..., Any], values: list[object]
) -> None:
    for value in values:
        with pytest.raises(ObjectError) as caught:
            read({"field": value}, "field", "spec")
        assert caught.value.field.startswith("spec.field"), value


def test_a_null_label_is_the_empty_string_as_for_the_api_server() -> None:
    assert labels_of({"metadata": {"labels": {"a": None}}}) == {"a": ""}


def test_a_key_that_is_no_string_is_an_error() -> None:
    with pytest.raises(ObjectError, match=r"^metadata\.annotations"):
        annotations_of({"metadata": {"annotations": {5: "x"}}})


def test_an_item_without_a_name_has_the_empty_one() -> None:
    assert get_names({"volumes": [{"name": "a"}, {}, {"name": None}]}, "volumes") == ["a", "", ""]


@given(JSON)
def test_whatever_metadata_is_it_is_read_or_refused(metadata: object) -> None:
    for read in (name_of, namespace_of, labels_of, annotations_of):
        try:
            found = read({"metadata": metadata})
        except ObjectError:
            continue
        assert isinstance(found, str) or all(isinstance(item, str) for item in found.values())


def test_only_native_sidecars_run_beside_the_containers() -> None:
    spec = {
        "containers": [{"name": "web"}, {"name": "db"}],
        "initContainers": [
            {"name": "setup"},
            {"name": "mesh", "restartPolicy": "Always"},
            {"name": "never", "restartPolicy": "Never"},
        ],
    }
    running = [item["name"] for item in running_containers({"spec": spec})]

    assert running == ["web", "db", "mesh"]
