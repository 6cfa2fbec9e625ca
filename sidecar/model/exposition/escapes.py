"""Label values and quoted names between double quotes: what is escaped there, and how."""

import re

_ESCAPE = re.compile(rb'\\(["\\n])')
_UNESCAPED = {b'"': b'"', b"\\": b"\\", b"n": b"\n"}


def unescape(text: bytes) -> bytes:
    r"""Undo `\"`, `\\` and `\n`; any other escape stays as written."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _UNESCAPED[match[1]], text)


def escape(text: bytes) -> bytes:
    """Write a label value so that it can stand between double quotes."""
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
