"""The lexical grammar of the two text formats, as regular expressions.

Possessive quantifiers keep the matcher from backtracking on hostile bodies.

Source: Prometheus's `textparse` lexers, and the specifications of the formats where both agree.
"""

import re
from typing import NamedTuple

from sidecar.model.exposition.formats import Format

TEXT_TYPES = frozenset([b"counter", b"gauge", b"histogram", b"summary", b"untyped"])
OPENMETRICS_TYPES = TEXT_TYPES - {b"untyped"} | {
    b"gaugehistogram",
    b"info",
    b"stateset",
    b"unknown",
}

_NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_LINE_STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
_FLOAT = (
    rb"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
    rb"|[+-]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN]"
)

_TEXT_BLOCK = (
    rb"\{[ \t]*+(?:(?:%(label)b|%(string)b)[ \t]*+=[ \t]*+%(string)b[ \t]*+(?:,[ \t]*+)?+"
    rb"|%(string)b[ \t]*+,[ \t]*+)*+(?:%(string)b[ \t]*+)?+\}"
) % {b"label": _LABEL, b"string": _STRING}
_OM_BLOCK = (
    rb"\{(?:(?:%(label)b|%(string)b)=%(line_string)b(?:,|(?=\}))|%(string)b(?:,|(?=\})))*+\}"
) % {b"label": _LABEL, b"string": _STRING, b"line_string": _LINE_STRING}


class Grammar(NamedTuple):
    """Patterns for the parts of a line in one format."""

    blank: re.Pattern[bytes]
    meta: re.Pattern[bytes]
    comment_start: re.Pattern[bytes]
    series: re.Pattern[bytes]
    tail: re.Pattern[bytes]
    types: frozenset[bytes]


_TEXT = Grammar(
    blank=re.compile(rb"(?:[ \t]*+\n)++"),
    meta=re.compile(rb"[ \t]*+#[ \t]++(HELP|TYPE)[ \t]++(?:(%b)|(%b))?" % (_NAME, _STRING)),
    comment_start=re.compile(rb"[ \t]*+#"),
    series=re.compile(rb"([ \t]*+%b)?(?:[ \t]*+(%b))?" % (_NAME, _TEXT_BLOCK)),
    tail=re.compile(rb"[ \t]*+(%b)[ \t]*+(?:(?<=[ \t])([0-9]++)[ \t]*+)?(?:\n|\Z)" % _FLOAT),
    types=TEXT_TYPES,
)
_EXEMPLAR_BLOCK = rb"\{(?:(?:%b|%b)=%b(?:,|(?=\})))*+\}" % (_LABEL, _LINE_STRING, _LINE_STRING)
_OPENMETRICS = Grammar(
    blank=re.compile(rb"(?!)"),
    meta=re.compile(rb"# (HELP|TYPE|UNIT) (?:(%b)|(%b))?" % (_NAME, _STRING)),
    comment_start=re.compile(rb"#"),
    series=re.compile(rb"(%b)?(%b)?" % (_NAME, _OM_BLOCK)),
    tail=re.compile(
        rb" (%(float)b)(?: (%(float)b))?(?: # (%(block)b) (%(float)b)(?: (%(float)b))?)?\n"
        % {b"float": rb"(?:%b)" % _FLOAT, b"block": _EXEMPLAR_BLOCK}
    ),
    types=OPENMETRICS_TYPES,
)
GRAMMARS = {Format.TEXT: _TEXT, Format.OPENMETRICS: _OPENMETRICS}
ITEM = re.compile(
    rb'(?:(%b)|"([^"\\]*+(?:\\.[^"\\]*+)*+)")[ \t]*+(?:=[ \t]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)")?+'
    % _LABEL
)

# A series in the common form, in one match; tried first for every new head.
PLAIN = re.compile(rb'(%b)(?:\{((?:%b="[^"\\\n]*+"(?:,|(?=\})))*+)\})?' % (_NAME, _LABEL))
PLAIN_ITEM = re.compile(rb'([a-zA-Z0-9_]++)="([^"]*+)"')
