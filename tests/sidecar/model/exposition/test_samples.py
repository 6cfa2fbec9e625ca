import pytest

from sidecar.errors import LimitError
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.samples import Series, check_labels, show_text


def _series(*values: bytes) -> Series:
    labels = tuple((b"l%d" % at, value) for at, value in enumerate(values))
    return Series(b"up", labels, b"")


def test_a_series_has_so_many_labels_that_are_not_empty() -> None:
    limits = Limits(labels=2)

    check_labels(_series(b"a", b"", b"b"), limits)
    with pytest.raises(LimitError, match="a series of 'up' has 3 labels; 2 are allowed"):
        check_labels(_series(b"a", b"b", b"c"), limits)


def test_somebody_else_s_text_is_shown_within_bounds() -> None:
    assert show_text(b"a\xff") == "'a\ufffd'"
    assert show_text(b"x" * 100) == repr("x" * 80) + "…"
