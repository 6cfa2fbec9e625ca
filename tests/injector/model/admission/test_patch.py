"""JSON Patch: applied by another library, the operations make exactly the wanted change."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.admission.patch import PatchBuilder, pointer
from tests.injector.webhook import apply

_KEYS = st.text("ab/~01 %\u00e9", max_size=5)
_LABELS = st.none() | st.dictionaries(_KEYS, st.text(max_size=3), max_size=3)
_METADATA = st.none() | st.fixed_dictionaries({"name": st.just("p")}, optional={"labels": _LABELS})
OBJECTS = st.fixed_dictionaries({"kind": st.just("Pod")}, optional={"metadata": _METADATA})
LABELS = ("metadata", "labels")


@given(
    OBJECTS,
    st.lists(st.tuples(_KEYS, st.text(max_size=3)), max_size=4, unique_by=lambda pair: pair[0]),
)
def test_keys_are_set_beside_what_was_there(
    obj: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    builder = PatchBuilder(obj)
    for key, value in wanted:
        builder.put_key(LABELS, key, value)
    before = copy.deepcopy(obj)
    metadata = apply(obj, builder.operations).get("metadata") or {}

    assert (metadata.get("labels") or {}) == {
        **((before.get("metadata") or {}).get("labels") or {}),
        **dict(wanted),
    }
    assert metadata.get("name") == (before.get("metadata") or {}).get("name")
    assert obj == before


def test_a_value_that_is_there_needs_no_operation() -> None:
    builder = PatchBuilder({"metadata": {"labels": {"a": "1", "b": "2"}}})
    builder.put_key(LABELS, "a", "1")
    builder.put_key(LABELS, "b", "3")

    assert builder.operations == [{"op": "replace", "path": "/metadata/labels/b", "value": "3"}]
    assert builder.created == []


@pytest.mark.parametrize(
    ("obj", "created", "nulls"),
    [
        ({}, ["/metadata", "/metadata/labels"], []),
        ({"metadata": None}, ["/metadata", "/metadata/labels"], ["/metadata"]),
        ({"metadata": {"labels": None}}, ["/metadata/labels"], ["/metadata/labels"]),
        ({"metadata": {"labels": {}}}, [], []),
    ],
    ids=["absent", "null", "null-labels", "empty"],
)
def test_parents_that_are_missing_are_made_once_and_noted(
    obj: dict[str, Any], created: list[str], nulls: list[str]
) -> None:
    builder = PatchBuilder(obj)
    for key in "ab":
        builder.put_key(LABELS, key, "1")

    assert apply(obj, builder.operations) == {"metadata": {"labels": {"a": "1", "b": "1"}}}
    assert (builder.created, builder.replaced_nulls) == (created, nulls)


@pytest.mark.parametrize(
    ("spec", "index", "result"),
    [
        ({"items": [1, 2]}, 0, [9, 1, 2]),
        ({"items": [1, 2]}, 1, [1, 9, 2]),
        ({"items": [1, 2]}, 2, [1, 2, 9]),
        ({"items": [1, 2]}, None, [1, 2, 9]),
        ({"items": []}, 0, [9]),
        ({"items": None}, 1, [9]),
        ({}, None, [9]),
    ],
)
def test_an_item_is_put_where_it_belongs(
    spec: dict[str, Any], index: int | None, result: list[int]
) -> None:
    builder = PatchBuilder({"spec": spec})
    builder.insert(("spec", "items"), index, 9)

    assert apply({"spec": spec}, builder.operations) == {"spec": {"items": result}}


@given(_KEYS)
def test_a_key_is_removed_by_its_pointer_whatever_is_in_it(key: str) -> None:
    labels = {key: "1", f"{key}/other": "2"}
    builder = PatchBuilder({"metadata": {"labels": labels}})
    builder.remove_key(LABELS, key)

    assert apply({"metadata": {"labels": labels}}, builder.operations) == {
        "metadata": {"labels": {f"{key}/other": "2"}}
    }


def test_a_pointer_is_written_as_rfc_6901_says() -> None:
    assert pointer("a/b", "m~n", "~1", "") == "/a~1b/m~0n/~01/"
