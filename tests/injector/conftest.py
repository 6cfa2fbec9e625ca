import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from injector.__main__ import main


class Ran(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str


Livery = Callable[..., Ran]


@pytest.fixture
def livery(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Livery:
    """Run `livery` in this process, with standard input as given."""

    def run(*arguments: object, stdin: str | bytes = b"") -> Ran:
        body = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))
        try:
            code = main([str(item) for item in arguments])
        except SystemExit as left:  # argparse exits like this
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
