"""Output of commands: lines of text for people, JSON or YAML for programs."""

import argparse
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from injector.files.manifests import write_manifests

FORMATS = ("text", "json", "yaml")
_MIN_COLUMNS = 40
# Controls other than our own colours, and characters that change the direction of a text.
_UNPRINTABLE = re.compile(
    "(?!\x1b\\[(?:0|1|2|31|32|33|36)m)[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_COMMANDS = ("kubectl ", "helm ", "livery ", "curl ")
"""Prefixes of lines that are copied into a shell, which are not wrapped."""


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    """Add `-o`, which chooses the format."""
    parser.add_argument(
        "-o", "--output", choices=FORMATS, default="text", help="format (%(default)s)"
    )


def print_report(facts: Mapping[str, Any], lines: Iterable[str], output: str) -> None:
    """Print an answer in one of `FORMATS`.

    Args:
        facts: the answer, as values that JSON can represent.
        lines: the same for people.
        output: the format.
    """
    if output == "json":
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    elif output == "yaml":
        print(write_manifests([dict(facts)]), end="")
    else:
        for line in lines:
            print_line(line)


def printable(text: str) -> str:
    """Escape what a terminal would obey, such as an escape sequence in a name.

    The colours of `paint` stay.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_line(line: str) -> None:
    """Print a line and flush it; on a terminal it is wrapped, with its indentation kept."""
    line = printable(line)
    is_wide = sys.stdout.isatty() and not line.lstrip().startswith(_COMMANDS)
    for part in wrap(line, shutil.get_terminal_size().columns) if is_wide else [line]:
        print(part, flush=True)


def wrap(line: str, columns: int) -> list[str]:
    """Break a line between words; the following lines are indented two blanks deeper."""
    if len(line) <= columns:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line.strip(),
        max(columns, _MIN_COLUMNS),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [line]
