import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.files import editing
from injector.files.editing import edit
from injector.files.manifests import read_manifest_file, read_manifests, write_manifests

TEXT = """\
# the front
apiVersion: v1
kind: Pod   # a pod
metadata:
  # who it is
  name: "web"
  annotations: {a: 'b'}
  count: 0o17
spec:
  containers:
    # the one
    - name: web   # main
      args: [--a, "x"]
      text: |
        one
          two
    - name: side
---
kind: List
items:
  - kind: ConfigMap   # first
    data: {on: yes, 80: 1}
  -
  - kind: Pod
    spec:
"""
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9)
    | st.text("ab1:#-?&*'\" \n{}[],|>%@`yn~=", max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abyn1~ :", max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
_OBJECTS = st.dictionaries(st.sampled_from("abcd"), _JSON, max_size=4).map(
    lambda fields: {"kind": "X", **fields}
)


def _edit(text: str, at: int, change: Any) -> tuple[str, bool, list[dict[str, Any]]]:
    """Change one object; returns the text, whether it was rewritten, and the expected objects."""
    file = read_manifest_file(text, "a.yaml")
    objects = [copy.deepcopy(manifest.obj) for manifest in file.manifests]
    change(objects[at])
    edited = edit(file, {file.manifests[at].place: objects[at]})
    return edited.text, edited.is_anew, objects


def _objects(text: str) -> list[dict[str, Any]]:
    return [manifest.obj for manifest in read_manifests(text, "out.yaml")]


def test_without_a_change_the_text_is_the_same() -> None:
    assert edit(read_manifest_file(TEXT, "a.yaml"), {}) == (TEXT, False)


def test_a_change_leaves_every_other_line_as_it_was() -> None:
    def change(obj: dict[str, Any]) -> None:
        obj["metadata"]["name"] = "db"
        obj["spec"]["containers"].insert(0, {"name": "proxy", "args": ["1", "x"]})

    text, is_anew, meant = _edit(TEXT, 0, change)

    assert _objects(text) == meant
    assert not is_anew
    lines = TEXT.replace('name: "web"', 'name: "db"').splitlines()
    assert [line for line in lines if line not in text.splitlines()] == []
    assert "- name: proxy\n      args:\n        - '1'\n        - x\n" in text


def test_an_item_of_a_list_is_changed_where_it_stands() -> None:
    text, is_anew, meant = _edit(TEXT, 2, lambda obj: obj.update(spec={"a": True, "b": None}))

    assert (_objects(text), is_anew) == (meant, False)
    assert "kind: ConfigMap   # first\n    data: {on: yes, 80: 1}\n" in text
    assert text.count("kind: List\n") == 1
    assert text.endswith("spec:\n      a: true\n      b:\n")


def test_an_annotation_in_brackets_stays_there_and_a_new_container_does_not() -> None:
    text = "kind: Pod\nmetadata: {annotations: {a: b}}\nspec: {containers: [{name: a}]}\n"

    def change(obj: dict[str, Any]) -> None:
        obj["metadata"]["annotations"]["c"] = "1"
        obj["spec"]["initContainers"] = [{"name": "proxy"}]

    edited, is_anew, meant = _edit(text, 0, change)

    assert (_objects(edited), is_anew) == (meant, False)
    assert "metadata:\n  annotations: {a: b, c: '1'}\nspec:\n" in edited
    assert "  containers: [{name: a}]\n  initContainers:\n  - name: proxy\n" in edited


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nlabels: &l {app: web}  # shared\nselector: *l\n",
        "kind: Pod\nlabels: &l\n  app: web\nselector:\n  <<: *l\n  b: c\n",
    ],
)
def test_where_aliases_say_one_thing_twice_one_place_is_changed_and_it_is_anew(text: str) -> None:
    edited, is_anew, meant = _edit(text, 0, lambda obj: obj["labels"].update(new="x"))

    assert _objects(edited) == meant
    assert "new" not in meant[0]["selector"]
    assert is_anew


def test_a_file_too_large_to_edit_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MAX_EDITED_BYTES", 10)

    edited, is_anew, meant = _edit(TEXT, 0, lambda obj: obj.update(more=1))

    assert (_objects(edited), is_anew) == (meant, True)


@given(_OBJECTS, _OBJECTS, st.booleans())
def test_whatever_an_object_becomes_the_text_says_it(
    before: dict[str, Any], after: dict[str, Any], in_brackets: bool
) -> None:
    import json

    text = json.dumps(before, indent=1) if in_brackets else write_manifests([before])
    file = read_manifest_file(text, "a.yaml")

    edited = edit(file, {(0,): after})

    assert _objects(edited.text) == [after]


def test_windows_line_ends_stay() -> None:
    text = TEXT.replace("\n", "\r\n")

    edited, is_anew, _ = _edit(text, 0, lambda obj: obj["metadata"].update(name="api"))

    assert not is_anew
    assert edited.count("\r\n") == edited.count("\n") == text.count("\n")
    assert 'name: "api"\r\n' in edited


def test_documents_that_do_not_change_keep_every_byte() -> None:
    others = "# licence\n---\n# only a comment\n---\nkind: X\nlist:\n    -  { a: b,  c: d }\n---\n"
    text = f"{others}kind: Pod\nmetadata: {{name: a}}\n---\nkind: Z\na: &a [1]\nb: *a\n"

    edited, is_anew, meant = _edit(text, 1, lambda obj: obj["metadata"].update(name="b"))

    assert (_objects(edited), is_anew) == (meant, False)
    assert edited == text.replace("name: a", "name: b")


def test_json_stays_json() -> None:
    edited, is_anew, meant = _edit('{"kind": "Pod", "a": "ü"}', 0, lambda obj: obj.update(b=1))

    assert json.loads(edited) == meant[0]
    assert not is_anew
    assert "ü" in edited
