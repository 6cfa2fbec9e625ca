"""YAML as Kubernetes and Prometheus read it, with bounds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.errors import ManifestError
from injector.files import documents
from injector.files.documents import MAX_DEPTH, KubernetesLoader, TextLoader, read_documents

# JSON strings contain control characters only escaped; YAML forbids some that JSON allows.
_TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Cn"]), max_size=9)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def _read(text: str) -> list[Any]:
    return [document for document, _ in read_documents(text, "file.yaml")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01"),
        ("y", True),
        ("Off", False),
        ("1e3", 1000.0),
        ("0o17", 15),
        ("017", 15),
        ("-0x1F", -31),
        ("1_000", 1000),
        ("=", "="),
        ("~", None),
        ("", None),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_plain_value_means_what_it_means_to_kubectl(text: str, value: object) -> None:
    (document,) = _read(f"a: {text}")

    assert document == {"a": value}
    assert type(document["a"]) is type(value)


@pytest.mark.parametrize("text", ["1.10", "yes", "0x1F", "2001-01-01", "1e3", "="])
def test_a_value_of_a_rule_is_text_as_for_prometheus(text: str) -> None:
    assert list(read_documents(f"a: {text}", "rules", TextLoader)) == [({"a": text}, 1)]


@given(_JSON)
def test_json_is_read_as_json(value: object) -> None:
    assert _read(json.dumps({"a": value}, ensure_ascii=False)) == [{"a": value}]


@given(st.text("[]{}:-&*!#|>'\"%@ \n\tab0x_~<=?,.\x00\ufeff\U0001f600", max_size=40))
def test_whatever_is_in_a_file_is_refused_or_could_be_json(text: str) -> None:
    try:
        found = _read(text)
    except ManifestError:
        return
    json.dumps(found)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\n---\nb: 1\nb: 2\n", 4, "duplicate key 'b'"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key is not a scalar"),
        ("a: 1\nb: &x [*x]\n", 2, "nested too deeply"),
        ("a: 1\nb: !!binary aGk=\n", 2, "could not determine a constructor"),
        ("a: 1\nb: !!python/name:os.system\n", 2, "could not determine a constructor"),
        ("a: \xe4\nb: \x07\n", 2, "control characters"),
        ("a: 1\nb: 18446744073709551616\n", 2, "integer out of range"),
        ("a: !!int ''", 0, "not YAML"),
        ("a: !!float ''", 0, "not YAML"),
        ("a: \ud800", 0, "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason) as caught:
        _read(text)
    assert caught.value.line == line


@pytest.mark.parametrize("style", ["[{}]", "- {}"], ids=["flow", "block"])
def test_nesting_is_bounded_in_every_style(style: str) -> None:
    opening, _, closing = style.partition("{}")
    (value,) = _read(opening * MAX_DEPTH + "x" + closing * MAX_DEPTH)
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1

    assert depth == MAX_DEPTH
    for levels in (MAX_DEPTH + 1, 20_000):
        with pytest.raises(ManifestError, match="nested too deeply"):
            _read(opening * levels + "x" + closing * levels)


def test_brackets_within_a_string_are_no_nesting() -> None:
    brackets = "[{" * MAX_DEPTH

    assert _read(f"a: '{brackets}'") == [{"a": brackets}]


def test_aliases_count_as_often_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_NODES", 100)
    doubled = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 7))

    assert len(_read("a0: &a0 x\na1: [*a0, *a0]")) == 1
    with pytest.raises(ManifestError, match="more than 100 nodes"):
        _read(f"a0: &a0 x\n{doubled}")


def test_keys_are_texts_whatever_they_look_like() -> None:
    text = "80: a\non: b\n~: c\n0x1: d"

    assert _read(text) == [{"80": "a", "on": "b", "~": "c", "0x1": "d"}]


def test_a_merge_key_gives_way_to_what_stands_beside_it() -> None:
    assert _read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")[0]["b"] == {"x": 1, "y": 3}


def test_each_document_is_given_with_its_first_line() -> None:
    found = list(read_documents("# first\na: 1\n---\n\n# second\nb: 2\n", "x", KubernetesLoader))

    assert found == [({"a": 1}, 2), ({"b": 2}, 6)]
