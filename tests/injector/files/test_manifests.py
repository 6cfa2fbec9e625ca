"""Manifests: read with their positions, and written so that every parser reads them back."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from injector.errors import ManifestError
from injector.files import manifests
from injector.files.manifests import read_manifests, write_manifests

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def _objects(text: str) -> list[dict[str, Any]]:
    return [manifest.obj for manifest in read_manifests(text, "a.yaml")]


@given(_VALUES)
@example("a\n b\n\n")
@example("\n")
@example("a \nb")
@example("\x85x\u2028y\u2029")
@example({"a\nb": "---\n...\n"})
@example(["- a", "? b", "", " ", "#", "\ufeff", "a: b", "\t\n"])
def test_what_is_written_is_read_back(value: object) -> None:
    objects: list[dict[str, Any]] = [{"kind": "A", "value": value}, {"kind": "B", "a": [value]}]

    assert _objects(write_manifests(objects)) == objects


@given(st.text(max_size=12) | st.from_regex(r"[-+.0-9_xobeEyYnN:~=<]{1,8}", fullmatch=True))
def test_a_text_is_a_text_to_every_reader(text: str) -> None:
    written = write_manifests([{"kind": "A", "value": text}])

    assert yaml.safe_load(written)["value"] == text
    assert _objects(written)[0]["value"] == text


def test_keys_keep_their_order_and_several_lines_stay_readable() -> None:
    written = write_manifests([{"kind": "A", "b": "one\ntwo\n", "a": "1e3"}, {"kind": "B"}])

    assert written == "kind: A\nb: |\n  one\n  two\na: '1e3'\n---\nkind: B\n"


def test_a_list_gives_its_items_and_empty_documents_nothing() -> None:
    inner = "{kind: PodList, items: [{kind: Pod}, {kind: Pod}]}"
    text = f"---\n---\nkind: List\nitems: [{inner}, {{kind: Node}}]\n--- # none\n"
    found = read_manifests(text, "a.yaml")

    assert [(item.obj["kind"], item.line) for item in found] == [
        ("Pod", 3), ("Pod", 3), ("Node", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("kind: A\n---\n- 1\n", 3, "not a mapping"),
        ("kind: A\n---\nname: x\n", 3, "no kind"),
        ("kind: ''\n", 1, "no kind"),
        ("kind: [A]\n", 1, "no kind"),
        ("kind: AList\nitems: [1]\n", 1, "items of a List"),
        ("kind: AList\nitems: {}\n", 1, "items of a List"),
        ("kind: List\nitems: [{name: x}]\n", 1, "no kind"),
    ],
)
def test_what_is_no_object_is_refused_with_its_place(text: str, line: int, reason: str) -> None:
    with pytest.raises(ManifestError, match=rf"^a\.yaml:{line}: .*{reason}"):
        read_manifests(text, "a.yaml")


def test_a_list_of_none_is_empty() -> None:
    assert _objects("kind: PodList\nitems: null\n") == []


def test_a_kind_that_only_ends_like_a_list_is_an_object() -> None:
    assert _objects("kind: AllowList\nspec: {items: 5}\n") == [
        {"kind": "AllowList", "spec": {"items": 5}}
    ]


def test_a_file_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_FILE_BYTES", 10)

    assert _objects("kind: Poda") == [{"kind": "Poda"}]
    with pytest.raises(ManifestError, match="more than"):
        read_manifests("kind: [Pod!", "a.yaml")


def test_items_of_a_list_of_one_kind_have_that_kind() -> None:
    text = "kind: PodList\napiVersion: v1\nitems:\n- {metadata: {name: a}}\n- {kind: Node}\n"
    first, second = read_manifests(text, "x")

    assert first.obj == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    assert second.obj == {"kind": "Node"}
