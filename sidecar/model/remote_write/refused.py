"""Splits a request that a receiver refused, so that its valid part can be sent again."""

import re
from collections.abc import Iterator, Sequence

from sidecar.model.promql.literals import unquote

MAX_NAMED = 20
"""Series that are read from one response."""
_SERIES, _LABEL = 0x0A, 0x0A
_HAS_LENGTH, _IS_DOUBLE = 2, 1
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_BLOCK = re.compile(r'\{((?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\}')
_NAME_CHARACTERS = 200
_PAIR = re.compile(r'[\s,]*+"?+([^"=,{}\s]++)"?+\s*+=\s*+("(?:[^"\\]|\\.)*+")')


def split_series(body: bytes) -> list[bytes]:
    """Return the series of a request, each as an encoded field; metadata is dropped.

    Args:
        body: a request that Livery encoded.
    """
    return [body[start:end] for tag, start, _, end in _fields(body) if tag == _SERIES]


def labels_of(series: bytes) -> dict[str, str]:
    """Return the labels of a series that `split_series` returned."""
    labels: dict[str, str] = {}
    for _, _, begin, end in _fields(series):
        message = series[begin:end]
        for tag, _, at, until in _fields(message):
            if tag == _LABEL:
                pair = message[at:until]
                name, value = (pair[a:b].decode() for _, _, a, b in _fields(pair))
                labels[name] = value
    return labels


def read_named(answer: str) -> list[dict[str, str]]:
    """Return the series that a response names, as `up{job="a"}` or `{__name__="up", job="a"}`."""
    found: list[dict[str, str]] = []
    at = -1
    for _ in range(MAX_NAMED):  # each costs at most the length of the answer
        at = answer.find("{", at + 1)
        if at < 0:
            break
        labels = _read_series(answer, at)
        if labels:
            found.append(labels)
    return found


def _read_series(answer: str, at: int) -> dict[str, str]:
    """Read the series whose labels begin at a brace; empty if there is none."""
    block = _BLOCK.match(answer, at)
    if block is None:
        return {}
    name = _NAME.search(answer[max(0, at - _NAME_CHARACTERS) : at])
    try:
        pairs = {label: unquote(value) for label, value in _read_pairs(block[1])}
    except ValueError:
        return {}
    return ({"__name__": name[0]} if name else {}) | pairs


def _read_pairs(block: str) -> Iterator[tuple[str, str]]:
    """Yield names and quoted values from the start, until the text does not match."""
    at = 0
    while (found := _PAIR.match(block, at)) is not None:
        yield found[1], found[2]
        at = found.end()


def leave_out(series: Sequence[bytes], named: Sequence[dict[str, str]]) -> list[bytes]:
    """Return the series that are not named."""
    return [item for item in series if labels_of(item) not in named]


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield each length-delimited field: its tag, its start, and its content's start and end."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        if tag & 7 == _HAS_LENGTH:
            size, at = _read_varint(message, at)
            yield tag, start, at, at + size
            at += size
        elif tag & 7 == _IS_DOUBLE:
            at += 8
        else:
            _, at = _read_varint(message, at)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
