"""Fields of access questions about third parties, named as in Kubernetes."""

from kubernetes.client import V1NonResourceAttributes, V1ResourceAttributes

from injector.control.identity import AccessAttributes


def test_a_question_has_only_fields_that_kubernetes_knows() -> None:
    attributes = (V1ResourceAttributes, V1NonResourceAttributes)
    known = {name for item in attributes for name in item.attribute_map.values()}

    assert set(AccessAttributes._fields) <= known
