from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.fields import Fields
from sidecar.model.policy.document import (
    MAX_NOTES,
    DocumentReader,
    Origin,
    encode,
    policy_version,
)
from tests.sidecar.model.policy.test_pod import JSON


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_a_version_does_not_depend_on_the_order_of_keys(document: dict[str, object]) -> None:
    turned = dict(reversed(document.items()))

    assert policy_version(turned) == policy_version(document)
    assert b"\n" not in encode(document)


def test_a_version_is_the_same_on_every_replica() -> None:
    assert policy_version({"labels": {"team": "blue"}}) == "5db05a2c217df6a4"
    assert policy_version({"labels": {"team": "green"}}) != "5db05a2c217df6a4"


def test_what_is_noted_of_a_document_is_bounded() -> None:
    reader = DocumentReader(Origin.STREAM)
    unknown = {f"{number}{'x' * 1000}": 0 for number in range(1000)}

    reader.check(Fields(unknown), [], "a field")
    reader.access_rules(Fields({"access": [0] * 1000}), "access")

    assert len(reader.ignored) == len(reader.problems) == MAX_NOTES
    assert max(map(len, reader.ignored)) == 80
