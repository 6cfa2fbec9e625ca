"""Metric and label names: what is legal, how others are quoted, escaped or sanitised.

Source: https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

import re

from sidecar.model.formats import Escaping

_METRIC = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(rb"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def is_plain_metric_name(name: bytes) -> bool:
    """Tell whether a metric name needs no quotes."""
    return _METRIC.fullmatch(name) is not None


def is_plain_label_name(name: bytes) -> bool:
    """Tell whether a label name needs no quotes."""
    return _LABEL.fullmatch(name) is not None


def sanitize_label_name(key: str) -> str:
    """Make a label name of a Kubernetes label key: others become `_`, a leading digit gets one.

    Source: Prometheus's `strutil.SanitizeLabelName`.
    """
    name = _NOT_IN_LABEL.sub("_", key)
    return f"_{name}" if name[:1].isdigit() else name


def escape_name(name: bytes, escaping: Escaping, *, colons: bool) -> bytes:
    """Write a name for a client that takes plain names only.

    Args:
        name: any valid UTF-8.
        escaping: the client's scheme; `ALLOW_UTF8` returns the name as it is.
        colons: True for metric names, in which `:` is plain.
    """
    if escaping is Escaping.ALLOW_UTF8:
        return name
    plain = is_plain_metric_name(name) if colons else is_plain_label_name(name)
    if plain and escaping is not Escaping.DOTS:
        return name
    text = name.decode()
    if escaping is Escaping.VALUES:
        parts = [_value(char, first=i == 0, colons=colons) for i, char in enumerate(text)]
        return b"U__" + b"".join(parts)
    escape = _dot if escaping is Escaping.DOTS else _underscore
    return b"".join(escape(char, first=i == 0, colons=colons) for i, char in enumerate(text))


def _is_plain(char: str, *, first: bool, colons: bool) -> bool:
    if not char.isascii():
        return False
    return (
        char.isalpha() or char == "_" or (colons and char == ":") or (char.isdigit() and not first)
    )


def _underscore(char: str, *, first: bool, colons: bool) -> bytes:
    return char.encode() if _is_plain(char, first=first, colons=colons) else b"_"


def _dot(char: str, *, first: bool, colons: bool) -> bytes:
    if char == "_":
        return b"__"
    if char == ".":
        return b"_dot_"
    return char.encode() if _is_plain(char, first=first, colons=colons) else b"__"


def _value(char: str, *, first: bool, colons: bool) -> bytes:
    if char == "_":
        return b"__"
    if _is_plain(char, first=first, colons=colons):
        return char.encode()
    return f"_{ord(char):x}_".encode()
