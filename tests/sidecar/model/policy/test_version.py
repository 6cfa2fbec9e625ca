from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.policy.version import content_hash, encode, policy_version
from tests.sidecar.model.policy.test_pod import JSON


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_a_version_does_not_depend_on_the_order_of_keys(document: dict[str, object]) -> None:
    turned = dict(reversed(document.items()))

    assert policy_version(turned) == policy_version(document)
    assert b"\n" not in encode(document)


def test_a_version_is_the_same_on_every_replica() -> None:
    assert policy_version({"labels": {"team": "blue"}}) == "5db05a2c217df6a4"
    assert policy_version({"labels": {"team": "green"}}) != "5db05a2c217df6a4"


def test_texts_are_named_by_what_they_are_together() -> None:
    assert content_hash(b"a", b"b") == content_hash(b"ab") != content_hash(b"ba")
