"""Metric and label names: which are valid, and how others are quoted, escaped or sanitized.

Source: https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

import re

from sidecar.errors import LimitError
from sidecar.model.exposition.formats import Escaping

MAX_ESCAPED_NAME_BYTES = 1024
"""Maximum size of a name that has to be escaped: each character may become several."""

_METRIC = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(rb"[a-zA-Z_][a-zA-Z0-9_]*")
# Keyed by whether `:` is allowed, as in metric names.
_SPECIAL = {True: re.compile("[^a-zA-Z0-9_:]"), False: re.compile("[^a-zA-Z0-9_]")}
_SPECIAL_OR_UNDERSCORE = {True: re.compile("[^a-zA-Z0-9:]"), False: re.compile("[^a-zA-Z0-9]")}
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def is_plain_metric_name(name: bytes) -> bool:
    """Return whether a metric name needs no quotes."""
    return _METRIC.fullmatch(name) is not None


def is_plain_label_name(name: bytes) -> bool:
    """Return whether a label name needs no quotes."""
    return _LABEL.fullmatch(name) is not None


def sanitize_label_name(key: str) -> str:
    """Convert a Kubernetes label key to a label name.

    Invalid characters become `_`, and a leading digit gets a `_` before it.

    Source: Prometheus's `strutil.SanitizeLabelName`.
    """
    name = _NOT_IN_LABEL.sub("_", key)
    return f"_{name}" if name[:1].isdigit() else name


def escape_name(name: bytes, escaping: Escaping, *, colons: bool) -> bytes:
    """Escape a name for a client that accepts only plain names.

    Args:
        name: any valid UTF-8.
        escaping: the client's scheme; `ALLOW_UTF8` returns the name unchanged.
        colons: True for metric names, in which `:` is allowed.

    Raises:
        LimitError: the name has to be escaped and is too long.
    """
    if escaping is Escaping.ALLOW_UTF8:
        return name
    plain = is_plain_metric_name(name) if colons else is_plain_label_name(name)
    if plain and escaping is not Escaping.DOTS:
        return name
    if len(name) > MAX_ESCAPED_NAME_BYTES:
        raise LimitError(
            f"a name of {len(name)} bytes has to be escaped; {MAX_ESCAPED_NAME_BYTES} are allowed"
        )
    text = name.decode()
    first = text[:1] if text[:1].isascii() and text[:1].isdigit() else ""
    rest = text[len(first) :]
    if escaping is Escaping.UNDERSCORES:
        escaped = ("_" if first else "") + _SPECIAL[colons].sub("_", rest)
    elif escaping is Escaping.DOTS:
        escaped = ("__" if first else "") + _SPECIAL_OR_UNDERSCORE[colons].sub(_dot, rest)
    else:
        start = f"_{ord(first):x}_" if first else ""
        escaped = "U__" + start + _SPECIAL_OR_UNDERSCORE[colons].sub(_value, rest)
    return escaped.encode()


def _dot(match: re.Match[str]) -> str:
    return "_dot_" if match[0] == "." else "__"


def _value(match: re.Match[str]) -> str:
    return "__" if match[0] == "_" else f"_{ord(match[0]):x}_"
