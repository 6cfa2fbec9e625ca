from sidecar.model.fields import Fields
from sidecar.model.policy.document import MAX_NOTES, DocumentReader, Origin


def test_what_is_noted_of_a_document_is_bounded() -> None:
    reader = DocumentReader(Origin.STREAM)
    unknown = {f"{number}{'x' * 1000}": 0 for number in range(1000)}

    reader.check(Fields(unknown), [], "a field")
    reader.access_rules(Fields({"access": [0] * 1000}), "access")

    assert len(reader.ignored) == len(reader.problems) == MAX_NOTES
    assert max(map(len, reader.ignored)) == 80
