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


def test_of_a_credential_a_version_has_the_revision_and_not_the_value() -> None:
    def version(value: str, revision: str) -> str:
        credential = {"value": value, "revision": revision}
        return policy_version({"forward": {"credentials": {"s/k": credential}, "rules": []}})

    assert version("geheim", "u/1") == version("other", "u/1") != version("geheim", "u/2")
    # Fields that only look like a credential's are part of the content.
    assert _version_of_labels("a") != _version_of_labels("b")


def _version_of_labels(value: str) -> str:
    return policy_version({"labels": {"value": value, "revision": "1"}})
