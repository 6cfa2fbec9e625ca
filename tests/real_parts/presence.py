"""Missing real parts: whether a test fails or is skipped."""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.real_parts.go import RealPartMissing

T = TypeVar("T")


def have(part: Callable[[], T]) -> T:
    """Return the part; a missing one fails the test in CI and skips it on a user's machine."""
    try:
        return part()
    except RealPartMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
