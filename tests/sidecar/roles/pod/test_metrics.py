import pytest

from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import CommentKind, scan
from sidecar.process.metrics import Family, Telemetry
from sidecar.roles.pod.metrics import METRICS


def test_no_two_families_have_one_name() -> None:
    names = [family.name for family in METRICS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("family", METRICS, ids=lambda family: family.name)
def test_a_family_is_named_as_prometheus_asks(family: Family) -> None:
    assert family.name.startswith(("livery_proxy_", "process_"))
    assert family.kind in {"counter", "gauge"}
    assert family.name.endswith("_total") is (family.kind == "counter")
    assert family.help[:1].isupper()
    assert family.help.endswith(".")


def test_all_families_are_described_before_they_have_samples() -> None:
    text = Telemetry(METRICS).render()
    sample = next(scan(text + b"a 1\n", Format.TEXT))

    types = [one.name for one in sample.head.comments if one.kind is CommentKind.TYPE]
    assert types == [family.name.encode() for family in METRICS]
