r"""PromQL literals: strings with Go's escapes, numbers and durations.

`\xff` in a string is one byte. Bytes that are not valid UTF-8 are kept as lone surrogates, as with
Python's `surrogateescape`, and are printed as `\xff` again.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#literals
"""

import re

_MAX_NANOSECONDS = 1 << 63
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.|\Z))"
)
_SIMPLE = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_UNPRINTED = re.compile('[\x00-\x1f"\\\\\x7f\ufffd\ud800-\udfff]')
_DURATION = re.compile(r"(\d+)(ms|[ywdhms])")
_MILLISECONDS = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
    "y": 31_536_000_000,
}  # fmt: skip


def unquote(literal: str) -> str:
    """Return the value of a quoted string; `literal` includes the quotes.

    Raises:
        ValueError: it contains an escape sequence that Go does not support.
    """
    if literal[0] == "`" or "\\" not in literal:
        return literal[1:-1]
    other_quote = "'" if literal[0] == '"' else '"'
    try:
        escaped = _ESCAPE.sub(lambda match: _unescape(match, other_quote), literal[1:-1])
        return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except (UnicodeError, ValueError, OverflowError):
        raise ValueError(f"{literal[:40]} contains an invalid escape") from None


def _unescape(match: re.Match[str], other_quote: str) -> str:
    simple, octal, byte, short, long, other = match.groups()
    if other is not None or simple == other_quote:
        raise ValueError(other)
    if simple is not None:
        return _SIMPLE[simple]
    if octal is not None or byte is not None:
        number = int(octal, 8) if octal is not None else int(byte, 16)
        return bytes([number]).decode("utf-8", "surrogateescape")
    code = int(short or long, 16)
    if 0xD800 <= code < 0xE000:
        raise ValueError(code)
    return chr(code)


def quote(text: str) -> str:
    """Return a PromQL string literal whose value is exactly `text`."""
    if _UNPRINTED.search(text) is None:
        return f'"{text}"'
    return f'"{_UNPRINTED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    code = ord(char)
    if code == 0xFFFD:
        return "\\ufffd"
    return f"\\x{code & 0xFF:02x}"


def number_value(text: str) -> float:
    """Read a number: `1e3`, `0x1f`, `1_000`, `Inf`; a leading 0 means octal, as in Go.

    Raises:
        ValueError: it is not a number.
    """
    plain = text.replace("_", "") if text[:1].isdigit() else text
    if plain[:2] in ("0x", "0X"):
        return float(int(plain, 16))
    if len(plain) > 1 and plain[0] == "0" and plain.isdigit() and not set("89") & set(plain):
        return float(int(plain, 8))
    return float(plain)


def duration_seconds(text: str) -> float:
    """Read a duration: `1h30m`, `500ms`.

    Raises:
        ValueError: it is longer than 292 years.
    """
    total = sum(int(count[:20]) * _MILLISECONDS[unit] for count, unit in _DURATION.findall(text))
    if total * 1_000_000 >= _MAX_NANOSECONDS:
        raise ValueError("duration out of range")
    return total / 1000
