import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PodsError, RuleError
from sidecar.model.fields import (
    Fields,
    join_path,
    kind_of,
    read_flag,
    read_mapping,
    read_mappings,
    read_string_list,
    read_string_map,
    read_text,
)

_READERS: dict[Callable[[object, str], object], str] = {
    read_mapping: "a mapping is needed",
    read_string_map: "a mapping is needed",
    read_string_list: "a list of strings is needed",
    read_mappings: "a list of mappings is needed",
    read_text: "a string is needed",
    read_flag: "true or false is needed",
}
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@pytest.mark.parametrize(
    ("read", "empty"),
    [
        (read_mapping, {}), (read_string_map, {}), (read_string_list, ()), (read_mappings, []),
        (read_text, ""), (read_flag, False),
    ],
)  # fmt: skip
def test_null_is_the_empty_value(read: Callable[[object, str], object], empty: object) -> None:
    assert read(None, "a") == empty


@pytest.mark.parametrize(
    ("read", "value", "reason"),
    [
        (read_mapping, [], "a mapping is needed, not a list"),
        (read_string_map, "x", "a mapping is needed, not a string"),
        (read_string_list, "x", "a list of strings is needed, not a string"),
        (read_mappings, {}, "a list of mappings is needed, not a mapping"),
        (read_text, 1, "a string is needed, not a number"),
        (read_text, True, "a string is needed, not true or false"),
        (read_flag, 0, "true or false is needed, not a number"),
        (read_flag, "true", "true or false is needed, not a string"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_path_and_kind(
    read: Callable[[object, str], object], value: object, reason: str
) -> None:
    with pytest.raises(RuleError) as caught:
        read(value, "rules[0].x")
    assert (caught.value.field, caught.value.reason) == ("rules[0].x", reason)


@pytest.mark.parametrize("read", [read_text, read_mapping, read_string_list, read_flag])
def test_an_error_does_not_show_a_value_since_it_may_be_a_secret(
    read: Callable[[object, str], object],
) -> None:
    with pytest.raises(RuleError) as caught:
        read(271828, "password")
    assert "271828" not in str(caught.value)


@given(value=_JSON)
@pytest.mark.parametrize("read", _READERS)
def test_any_value_is_read_unchanged_or_refused(
    read: Callable[[object, str], object], value: object
) -> None:
    with contextlib.suppress(RuleError):
        found = read(value, "a")
        assert value in (None, list(found) if isinstance(found, tuple) else found)


def test_the_caller_chooses_the_error() -> None:
    def error(path: str, reason: str) -> PodsError:
        return PodsError(f"<{path}> {reason}")

    with pytest.raises(PodsError, match=r"^<items\.0> a string is needed, not a list$"):
        read_text([], "items.0", error)
    with pytest.raises(PodsError, match=r"^<a\.b> a mapping is needed, not a number$"):
        Fields({"a": {"b": 1}}, error=error).at("a").at("b")


def test_a_value_of_a_string_map_is_named_by_its_key() -> None:
    with pytest.raises(RuleError, match=r"labels\.team: a string is needed, not 1"):
        read_string_map({"app": "a", "team": 1}, "labels")


def test_null_in_a_string_map_is_the_empty_string_only_where_that_is_asked_for() -> None:
    assert read_string_map({"a": None, "b": "c"}, "", null_is_empty=True) == {"a": "", "b": "c"}
    with pytest.raises(RuleError, match=r"labels\.a: "):
        read_string_map({"a": None}, "labels")


def test_fields_have_the_path_at_which_they_stand() -> None:
    fields = Fields({"rules": [{}, {"to": {"x": 1}}]}, "spec")

    assert [item.path for item in fields.each("rules")] == ["spec.rules[0]", "spec.rules[1]"]
    with pytest.raises(RuleError) as caught:
        fields.each("rules")[1].at("to").text("x")
    assert caught.value.field == "spec.rules[1].to.x"


@pytest.mark.parametrize("document", [None, {}, {"x": None}])
def test_an_absent_field_is_empty(document: object) -> None:
    fields = Fields(document)

    assert (fields.text("x"), fields.strings("x"), fields.each("x")) == ("", (), [])
    assert (fields.mapping("x"), fields.string_map("x"), fields.at("x").value) == ({}, {}, {})
    assert (fields.flag("x"), fields.flag("x", default=True)) == (False, True)


def test_false_is_not_the_default() -> None:
    assert Fields({"x": False}).flag("x", default=True) is False


def test_the_first_unknown_field_is_named_beside_the_known_ones() -> None:
    fields = Fields({"url": "", "zeta": 1, "alpha": 1, 7: 1}, "server")

    assert fields.unknown(["url"]) == ["7", "alpha", "zeta"]
    with pytest.raises(RuleError) as caught:
        fields.refuse_unknown(["url", "port"], "a setting")
    assert str(caught.value) == "server.7: not a setting (known here: port, url)"


def test_known_fields_are_not_refused() -> None:
    Fields({"url": ""}).refuse_unknown(["url", "port"], "a setting")


@pytest.mark.parametrize(("path", "joined"), [("", "a"), ("spec", "spec.a")])
def test_a_path_grows_by_a_dot_and_a_key(path: str, joined: str) -> None:
    assert (join_path(path, "a"), Fields({}, path).name("a")) == (joined, joined)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "true or false"), (1, "a number"), (1.5, "a number"), ("", "a string")],
)
def test_a_kind_is_named_as_json_does(value: Any, kind: str) -> None:
    assert kind_of(value) == kind
