"""Parts of an exposition, as the parser returns them: comments, series and samples."""

from enum import StrEnum
from typing import NamedTuple

from sidecar.errors import LimitError
from sidecar.model.exposition.limits import Limits


class CommentKind(StrEnum):
    """Kinds of lines that are not samples."""

    HELP = "help"
    """The family's documentation."""
    TYPE = "type"
    """The family's type."""
    UNIT = "unit"
    """The family's unit (OpenMetrics)."""
    FREE = "free"
    """A comment without meaning, or a blank line (text format only)."""


class Comment(NamedTuple):
    """One line that is not a sample; `raw` is its text with the newline."""

    kind: CommentKind
    name: bytes
    text: bytes
    raw: bytes


class Series(NamedTuple):
    """A sample's identity.

    `name` is unquoted, `labels` are (name unquoted, value as written between its quotes) in
    the order written, `raw` is the text.
    """

    name: bytes
    labels: tuple[tuple[bytes, bytes], ...]
    raw: bytes


class Head(NamedTuple):
    """The text before a tail; without a series, the last comment continues in the tail."""

    comments: tuple[Comment, ...]
    series: Series | None


class Sample(NamedTuple):
    """One head, its text, and its tail."""

    text: bytes
    head: Head
    tail: bytes


def check_labels(series: Series, limits: Limits) -> None:
    """Check the number of labels of a series; empty labels are not counted.

    Raises:
        LimitError: it has more than `limits.labels`.
    """
    if len(series.labels) > limits.labels:
        count = sum(1 for _, value in series.labels if value)
        if count > limits.labels:
            raise LimitError(
                f"a series of {show_text(series.name)} has {count} labels; "
                f"{limits.labels} are allowed"
            )


def show_text(text: bytes) -> str:
    """Format untrusted text for an error message, truncated if it is long."""
    shown = text[:80].decode(errors="replace")
    return repr(shown) + ("…" if len(text) > 80 else "")
