"""Outcomes: codes for metrics, sentences for people."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.admission.outcomes import AdmissionWarning, Reason, WarningCode


@pytest.mark.parametrize("codes", [Reason, WarningCode])
def test_a_code_can_be_the_label_of_a_metric(codes: type[Reason | WarningCode]) -> None:
    assert [str(item) for item in codes if not re.fullmatch(r"[a-z]+(-[a-z]+)*", item)] == []


def test_every_reason_can_follow_a_colon() -> None:
    assert [item for item in Reason if not item.sentence or item.sentence.endswith(".")] == []
    assert len({item.sentence for item in Reason}) == len(Reason)


@given(st.text(max_size=300))
def test_a_warning_is_one_line_that_the_api_server_does_not_cut(text: str) -> None:
    line = str(AdmissionWarning(WarningCode.BAD_TARGET, text))

    assert len(line) <= 256
    assert line.startswith("livery:")
    assert line.splitlines() == [line]


@pytest.mark.parametrize(("length", "is_whole"), [(248, True), (249, False)])
def test_a_warning_that_is_cut_shows_it(length: int, is_whole: bool) -> None:
    line = str(AdmissionWarning(WarningCode.BAD_TARGET, "x" * length))

    assert len(line) == 256
    assert line.endswith("x" if is_whole else "x…")


def test_a_warning_carries_no_control_characters() -> None:
    warning = AdmissionWarning(WarningCode.BAD_TARGET, "a\x1b[2Jb\u202ec\x00d ä")

    assert str(warning) == "livery: a [2Jb c d ä"
