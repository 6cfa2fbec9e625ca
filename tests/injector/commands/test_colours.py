"""Colours on a terminal, unless the user disables them."""

import io
import sys

import pytest

from injector.commands.colours import GREEN, is_coloured, paint


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colours_are_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_person_sees_colours_and_a_pipe_the_text_alone() -> None:
    assert paint("ok", GREEN, _Terminal()) == "\x1b[32mok\x1b[0m"
    assert paint("ok", GREEN, io.StringIO()) == "ok"


@pytest.mark.parametrize("value", ["1", "0", "false"])
def test_who_wants_none_gets_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NO_COLOR", value)

    assert not is_coloured(_Terminal())
    assert paint("ok", GREEN, _Terminal()) == "ok"


def test_an_empty_no_color_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")

    assert is_coloured(_Terminal())


def test_standard_output_is_meant_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Terminal())
    assert paint("ok", GREEN).startswith("\x1b")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert paint("ok", GREEN) == "ok"
