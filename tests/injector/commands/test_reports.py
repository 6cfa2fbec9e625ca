import json
import os

import pytest
import yaml

from injector.commands.reports import FORMATS, print_line, print_report, wrap

_FACTS = {"pods": [{"name": "web-0", "labels": {"team": "مالية"}}]}


@pytest.mark.parametrize("output", FORMATS)
def test_an_answer_is_lines_or_a_document(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(_FACTS, iter(["web-0", "  team مالية"]), output)

    out = capsys.readouterr().out
    if output == "text":
        assert out.splitlines() == ["web-0", "  team مالية"]
    else:
        assert (json.loads(out) if output == "json" else yaml.safe_load(out)) == _FACTS


def test_lines_fit_a_narrow_terminal_and_keep_their_indentation() -> None:
    line = "    no pattern of a MetricAccess object of this namespace fits, or a selector does not"

    lines = wrap(line, 60)

    assert all(len(item) <= 60 for item in lines)
    assert [len(item) - len(item.lstrip()) for item in lines] == [4, 6]
    assert " ".join(item.strip() for item in lines) == line.strip()


def test_a_word_is_not_broken() -> None:
    address = "https://" + "a" * 80

    assert address in wrap(f"the server at {address} does not answer", 60)[1]


class _Terminal:
    """A stream that is a terminal of 60 columns."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.lines += [line for line in text.split("\n") if line]

    def flush(self) -> None: ...


@pytest.mark.parametrize(("start", "lines"), [("kubectl label", 1), ("a sentence", 2)])
def test_only_a_command_stays_whole_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, start: str, lines: int
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setitem(os.environ, "COLUMNS", "60")

    print_line(f"    {start} {'word ' * 11}end")

    assert len(terminal.lines) == lines
