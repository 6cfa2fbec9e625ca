"""Escaping of label values and quoted names between double quotes."""

import re

_ESCAPE = re.compile(rb'\\(["\\n])')
_UNESCAPED = {b'"': b'"', b"\\": b"\\", b"n": b"\n"}


def unescape(text: bytes) -> bytes:
    r"""Undo `\"`, `\\` and `\n`; any other escape stays as written."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _UNESCAPED[match[1]], text)


def escape(text: bytes) -> bytes:
    """Escape a label value for use between double quotes."""
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
