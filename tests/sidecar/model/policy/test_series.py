from sidecar.model.fields import Fields
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.series import SeriesPolicy, read_naming


def test_the_default_changes_nothing() -> None:
    policy = SeriesPolicy()

    assert (policy.labels, policy.protected, policy.relabelings) == ({}, frozenset(), ())
    assert (policy.access_rules, policy.namespaces) == (None, None)


def test_protected_names_are_those_of_the_label_rules() -> None:
    fields = Fields({"labelRules": {"protected": ["team"], "prefix": "ns_"}})

    naming = read_naming(DocumentReader(Origin.FILE), fields, None)

    assert SeriesPolicy(naming=naming).protected == {"team"}
    assert naming.prefix == "ns_"
