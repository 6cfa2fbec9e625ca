"""Tests of the metrics of every role."""

from collections.abc import Sequence
from typing import ClassVar

from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import scan
from sidecar.model.exposition.samples import CommentKind
from sidecar.process.metrics import Family, Telemetry


class FamilyTests:
    """Tests of one role's metric families."""

    families: ClassVar[Sequence[Family]]
    prefix: ClassVar[str]

    def test_no_two_families_have_one_name(self) -> None:
        names = [family.name for family in self.families]

        assert sorted(set(names)) == sorted(names)

    def test_a_family_is_named_as_prometheus_asks(self) -> None:
        for family in self.families:
            assert family.name.startswith((self.prefix, "process_")), family.name
            assert family.kind in {"counter", "gauge"}, family.name
            assert family.name.endswith("_total") is (family.kind == "counter"), family.name

    def test_a_help_text_is_a_sentence(self) -> None:
        for family in self.families:
            assert family.help[:1].isupper(), family.name
            assert family.help.endswith("."), family.name

    def test_all_families_are_described_before_they_have_samples(self) -> None:
        text = Telemetry(self.families).render()
        sample = next(scan(text + b"a 1\n", Format.TEXT))

        types = [one.name for one in sample.head.comments if one.kind is CommentKind.TYPE]
        assert types == [family.name.encode() for family in self.families]
