"""PromQL lexer.

The kind of punctuation, operators and keywords is their text, in lower case. Other kinds are `word`
(a name), `colons` (a name with colons), `number`, `duration`, `string`, `eof`, and `bad` for an
invalid token. Keywords are tokenized as keywords everywhere, even inside braces, where the parser
takes them as names.

Source: https://github.com/prometheus/prometheus/blob/main/promql/parser/lex.go
"""

import json
import re
from typing import NamedTuple

AGGREGATORS_WITH_PARAMETER = frozenset(
    ["topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"]
)
AGGREGATORS = AGGREGATORS_WITH_PARAMETER | frozenset(
    ["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"]
)
CLOCK_FUNCTIONS = ("step", "range", "max_of", "min_of")
"""Functions that are also allowed in duration expressions."""
CLOCK_WORDS = frozenset(["start", "end", *CLOCK_FUNCTIONS])
"""Keywords that are also functions."""
_FILLS = frozenset(["fill", "fill_left", "fill_right"])
KEYWORDS = AGGREGATORS | CLOCK_WORDS | _FILLS | frozenset(
    [
        "and", "or", "unless", "atan2", "offset", "smoothed", "anchored", "by", "without", "on",
        "ignoring", "group_left", "group_right", "bool",
    ]
)  # fmt: skip
_OPERATORS = frozenset(
    [
        "and", "or", "unless", "atan2", "==", "!=", "<=", "<", ">=", ">", "</", ">/",
        "+", "-", "*", "/", "%", "^", "=~", "!~", "@",
    ]
)  # fmt: skip
_NUMBERS = frozenset(["inf", "nan"])
NOT_METRICS = _NUMBERS | frozenset(["on", "ignoring", "group_left", "group_right", "bool", "atan2"])
"""Keywords that cannot be a metric name."""
NOT_LABELS = _NUMBERS | {"without"}
"""Keywords that cannot be a label name in a label list."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|\#[^\r\n]*)*+")
_NUMBER = re.compile(
    r"""0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*+
      | (?:[0-9]+(?:_[0-9]+)*+(?:\.(?:[0-9]+(?:_[0-9]+)*+)?)?|\.[0-9]+(?:_[0-9]+)*+)
        (?:[eE][-+]?[0-9]+)?""",
    re.VERBOSE,
)
_DURATION = re.compile(
    r"(?:[0-9]+y)?(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?(?:[0-9]+ms)?"
)
_TOKEN = re.compile(
    r"""(?:[ \t\r\n]+|\#[^\r\n]*)*+(
        [a-zA-Z_:][a-zA-Z0-9_:]*+
      | =~|!~|==|!=|<=|>=|</|>/|[-+*/%^<>(){}\[\],=@]
      | \.?[0-9](?:[eE][-+]|[0-9a-zA-Z_.])*+
      | "(?:[^"\\\n\ufffd]|\\[^\n\ufffd])*+" | '(?:[^'\\\n\ufffd]|\\[^\n\ufffd])*+'
      | `[^`\ufffd]*+`
      | .
      | \Z
    )""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = (
    "=~", "!~", "==", "!=", "<=", ">=", "</", ">/", *"-+*/%^<>(){}[],=@:",
)  # fmt: skip
_KINDS: dict[str, str] = {
    **{sign: sign for sign in _SIGNS}, **{word: word for word in KEYWORDS - _FILLS},
    **dict.fromkeys(_NUMBERS, "number"), "": "eof",
}  # fmt: skip
_DIGITS = frozenset("0123456789.")
_QUOTES = frozenset("\"'`")


class Tokens(NamedTuple):
    """Texts and kinds of tokens; the last token is `eof`."""

    texts: list[str]
    kinds: list[str]


def tokenize(text: str) -> Tokens:
    """Split a text into tokens; invalid ones have the kind `bad`."""
    texts: list[str] = _TOKEN.findall(text)
    if "[" in text and ":" in text:
        texts = _with_colons(texts)
    get = _KINDS.get
    kinds = [get(found) or _kind(found) for found in texts]
    if "fill" in text.lower():
        _know_fills(texts, kinds)
    return Tokens(texts, kinds)


def find_position(text: str, texts: list[str], index: int) -> int:
    """Return the character position at which a token begins."""
    position = 0
    for found in [*texts[:index], None]:
        blank = _BLANK.match(text, position)
        position = position if blank is None else blank.end()
        position += len(found or "")
    return position


def _kind(found: str) -> str:
    first = found[0]
    if first in _QUOTES:
        return "string" if len(found) > 1 else "bad"
    if first in _DIGITS and found != ".":
        if found.isdigit() or _NUMBER.fullmatch(found):
            return "number"
        return "duration" if _DURATION.fullmatch(found) else "bad"
    if ":" in found:
        return "colons"
    keyword = _KINDS.get(found.lower())
    if keyword is not None:
        return keyword
    return "word" if first == "_" or (first.isascii() and first.isalpha()) else "bad"


def _with_colons(texts: list[str]) -> list[str]:
    """Split names at colons inside brackets, as in `[5m:step()]`."""
    divided: list[str] = []
    is_inside = False
    for found in texts:
        if found in ("[", "]"):
            is_inside = found == "["
        if is_inside and ":" in found and found[0] not in _QUOTES:
            divided += [part for part in re.split("(:)", found) if part]
        else:
            divided.append(found)
    return divided


def _know_fills(texts: list[str], kinds: list[str]) -> None:
    """Make `fill`, `fill_left` and `fill_right` keywords if a parenthesis follows, else names."""
    for index, found in enumerate(texts):
        if found.lower() in _FILLS and texts[index + 1] == "(":
            kinds[index] = found.lower()


def describe(kind: str, text: str) -> str:
    """Name a token as Prometheus's errors do: `identifier "by"`, `<op:+>`, `end of input`."""
    if kind == "eof":
        return "end of input"
    if kind in AGGREGATORS:
        return f"<aggr:{kind}>"
    if kind in _OPERATORS:
        return f"<op:{kind}>"
    if kind in KEYWORDS:
        return f"<{kind}>"
    shown = json.dumps(text if len(text) <= 10 else f"{text[:10]}...", ensure_ascii=False)
    names = {"word": "identifier", "colons": "metric identifier"}
    is_sign = kind not in ("word", "colons", "number", "duration", "string")
    return shown if is_sign else f"{names.get(kind, kind)} {shown}"


def explain_bad(rest: str) -> str:
    """Return why a text does not begin with a valid token."""
    if rest[0] in _QUOTES:
        return "unterminated quoted string, or a string with invalid UTF-8"
    if rest[0] in _DIGITS:
        return f"bad number or duration syntax: {json.dumps(rest[:20], ensure_ascii=False)}"
    return f"unexpected character: {rest[0]!r}"
