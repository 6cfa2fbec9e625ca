import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Escaping
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.encoding import EncodedPolicy, Encoding

_PLAIN = Escaping.UNDERSCORES


def _policy(**namespaces: dict[str, str]) -> SeriesPolicy:
    return SeriesPolicy(namespaces=namespaces)


@pytest.mark.parametrize(
    ("escaping", "name"),
    [
        (Escaping.ALLOW_UTF8, b"a.b_c"),
        (Escaping.UNDERSCORES, b"a_b_c"),
        (Escaping.DOTS, b"a_dot_b__c"),
        (Escaping.VALUES, b"U__a_2e_b__c"),
    ],
)
def test_names_are_written_as_each_kind_of_client_reads_them(
    escaping: Escaping, name: bytes
) -> None:
    naming = LabelRules(exclude=(), protected=frozenset(["a.b_c"]))
    policy = SeriesPolicy(labels={"a.b_c": "x"}, naming=naming, namespaces={"shop": {"a.b_c": "y"}})
    encoding = Encoding(policy, escaping)

    assert encoding.own == ((name, b"x"),)
    assert encoding.by_namespace == {b"shop": ((name, b"y"),)}
    assert encoding.protected == {name}


def test_a_colon_is_not_plain_in_a_labels_name() -> None:
    assert Encoding(SeriesPolicy(), _PLAIN).escape(b"a:b") == b"a_b"


@pytest.mark.parametrize("escaping", Escaping)
def test_no_name_stays_no_name(escaping: Escaping) -> None:
    assert Encoding(SeriesPolicy(), escaping).escape(b"") == b""


@given(st.text())
def test_a_value_can_be_read_back(value: str) -> None:
    (pair,) = Encoding(SeriesPolicy(), _PLAIN).encode({"a": value})

    assert unescape(pair[1]).decode() == value
    assert b"\n" not in pair[1]


def test_only_the_namespaces_that_are_named_are_encoded_anew() -> None:
    encoding = Encoding(_policy(a={"x": "1"}, b={"x": "1"}, c={"x": "1"}), _PLAIN)

    encoding.update(_policy(a={"x": "2"}, b={"x": "2"}, d={"x": "2"}), ["b", "c", "d", "e"])

    assert encoding.by_namespace == {
        b"a": ((b"x", b"1"),), b"b": ((b"x", b"2"),), b"d": ((b"x", b"2"),),
    }  # fmt: skip


def test_who_has_the_mapping_already_keeps_the_old_one() -> None:
    encoding = Encoding(_policy(a={"x": "1"}), _PLAIN)
    old = encoding.by_namespace

    encoding.update(_policy(a={"x": "2"}), ["a"])

    assert old == {b"a": ((b"x", b"1"),)}


def test_a_policy_is_encoded_once_for_each_kind_of_client() -> None:
    encoded = EncodedPolicy(_policy())

    assert encoded.encoding(Escaping.DOTS) is encoded.encoding(Escaping.DOTS)
    assert {encoded.encoding(kind).escaping for kind in Escaping} == set(Escaping)


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_changed_policy_reaches_clients_that_asked_before_and_new_ones(
    asked_before: bool,
) -> None:
    encoded, new = EncodedPolicy(_policy(a={"x": "1"})), _policy(a={"x": "2"})
    if asked_before:
        for kind in Escaping:
            encoded.encoding(kind)

    encoded.update(new, ["a"])

    assert encoded.policy is new
    for kind in Escaping:
        assert encoded.encoding(kind).by_namespace == Encoding(new, kind).by_namespace


def test_a_policy_without_grants_has_no_labels_of_namespaces() -> None:
    encoding = Encoding(SeriesPolicy(namespaces=None), _PLAIN)

    encoding.update(SeriesPolicy(namespaces=None), ["a"])

    assert encoding.by_namespace == {}
