"""A place in a text's tokens, from which the parser's parts read on."""

from typing import NoReturn

from sidecar.errors import QueryError
from sidecar.model.promql.lexer import describe, explain_bad, find_position, tokenize
from sidecar.model.promql.literals import duration_seconds, unquote

MAX_DEPTH = 200
MAX_COMPILED = 20


class Cursor:
    """Tokens, and the index of the next one; `eof` is the last and is never passed.

    Args:
        text: what is read.
        is_known: whether its selectors are known to select something.
    """

    __slots__ = ("at", "compiled", "depth", "is_known", "kinds", "text", "texts")

    def __init__(self, text: str, *, is_known: bool = False) -> None:
        self.text = text
        self.texts, self.kinds = tokenize(text)
        self.at = 0
        self.depth = 0
        """How many expressions are open around this place."""
        self.compiled = 0
        """Patterns that had to be compiled, to see whether a selector selects everything."""
        self.is_known = is_known

    def kind(self) -> str:
        """Return the next token's kind."""
        return self.kinds[self.at]

    def advance(self) -> str:
        """Pass the next token; returns the kind of the one behind it."""
        self.at += 1
        return self.kinds[self.at]

    def expect(self, kind: str) -> None:
        """Pass a token of this kind.

        Raises:
            QueryError: another one is there.
        """
        if self.kinds[self.at] != kind:
            self.fail_unexpected()
        self.at += 1

    def enter(self) -> None:
        """Go one expression deeper.

        Raises:
            QueryError: that is too deep.
        """
        if self.depth >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
        self.depth += 1

    def string(self) -> str:
        """Read a string, which must be next.

        Raises:
            QueryError: it has an escape that Go does not know.
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
            QueryError: there is none, or it is too long.
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
        """Read a number or duration with its sign; a `+` is left out."""
        sign = ""
        if self.kind() in ("+", "-"):
            sign = "-" if self.kind() == "-" else ""
            self.at += 1
        return sign + self.number(context, wanted)

    def fail_unexpected(self, context: str = "", wanted: str = "") -> NoReturn:
        """Refuse the next token, in Prometheus' words.

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
        """Refuse what stands at a token, by default the next one.

        Raises:
            QueryError: always.
        """
        index = self.at if token is None else token
        raise QueryError(reason, find_position(self.text, self.texts, index))
