"""A position in a list of tokens, shared by the modules of the parser."""

from typing import NoReturn

from sidecar.errors import QueryError
from sidecar.model.promql.lexer import describe, explain_bad, find_position, tokenize
from sidecar.model.promql.literals import duration_seconds, unquote

MAX_DEPTH = 200
MAX_COMPILED = 20


class Cursor:
    """Tokens, and the index of the next one; the last token, `eof`, is never skipped.

    Args:
        text: the text to parse.
        is_known: whether each selector is known to have a non-empty matcher.
    """

    __slots__ = ("at", "compiled", "depth", "is_known", "kinds", "text", "texts")

    def __init__(self, text: str, *, is_known: bool = False) -> None:
        self.text = text
        self.texts, self.kinds = tokenize(text)
        self.at = 0
        self.depth = 0
        """Number of expressions that are open at this position."""
        self.compiled = 0
        """Number of conditions compiled to check that no selector selects everything."""
        self.is_known = is_known

    def kind(self) -> str:
        """Return the next token's kind."""
        return self.kinds[self.at]

    def advance(self) -> str:
        """Skip the next token; return the kind of the one after it."""
        self.at += 1
        return self.kinds[self.at]

    def expect(self, kind: str) -> None:
        """Skip a token of this kind.

        Raises:
            QueryError: the next token has another kind.
        """
        if self.kinds[self.at] != kind:
            self.fail_unexpected()
        self.at += 1

    def enter(self) -> None:
        """Enter a nested expression.

        Raises:
            QueryError: the nesting is too deep.
        """
        if self.depth >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
        self.depth += 1

    def string(self) -> str:
        """Read a string; the next token must be one.

        Raises:
            QueryError: it contains an escape sequence that Go does not support.
        """
        try:
            value = unquote(self.texts[self.at])
        except ValueError as error:
            self.fail(str(error))
        self.at += 1
        return value

    def number(self, context: str = "", wanted: str = "") -> str:
        """Read a number or duration without a sign.

        Raises:
            QueryError: the next token is neither, or the duration is too long.
        """
        kind, text = self.kinds[self.at], self.texts[self.at]
        if kind == "duration":
            try:
                duration_seconds(text)
            except ValueError as error:
                self.fail(str(error))
        elif kind != "number":
            self.fail_unexpected(context, wanted)
        self.at += 1
        return text

    def signed_number(self, context: str = "", wanted: str = "") -> str:
        """Read a number or duration with its sign; a `+` is dropped."""
        sign = ""
        if self.kind() in ("+", "-"):
            sign = "-" if self.kind() == "-" else ""
            self.at += 1
        return sign + self.number(context, wanted)

    def fail_unexpected(self, context: str = "", wanted: str = "") -> NoReturn:
        """Refuse the next token, with the error text of Prometheus.

        Raises:
            QueryError: always.
        """
        kind, text = self.kinds[self.at], self.texts[self.at]
        if kind == "bad":
            self.fail(explain_bad(self.text[find_position(self.text, self.texts, self.at) :]))
        reason = f"unexpected {describe(kind, text)}"
        if context:
            reason += f" in {context}"
        if wanted:
            reason += f", expected {wanted}"
        self.fail(reason)

    def fail(self, reason: str, token: int | None = None) -> NoReturn:
        """Raise an error at a token, by default the next one.

        Raises:
            QueryError: always.
        """
        index = self.at if token is None else token
        raise QueryError(reason, find_position(self.text, self.texts, index))
