"""Coloured output on terminals."""

import os
import sys
from typing import TextIO

GREEN, RED, CYAN, YELLOW, DIM, BOLD = "32", "31", "36", "33", "2", "1"


def is_coloured(stream: TextIO) -> bool:
    """Return whether to use colour. Source: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Colour a text for a stream, stdout by default."""
    return f"\x1b[{colour}m{text}\x1b[0m" if is_coloured(stream or sys.stdout) else text
