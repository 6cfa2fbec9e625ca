"""A policy from a file, YAML or JSON, for proxies that run without a control service."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sidecar.errors import DocumentError, PolicyError
from sidecar.model.policy.document import MAX_POLICY_BYTES
from sidecar.process.documents import read_document, stamp

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RETRY_SECONDS = 10.0
"""Delay until a file that cannot be used is read again."""
P = TypeVar("P")


def load_policy(path: Path) -> object:
    """Read the document of a policy file.

    Raises:
        DocumentError: it cannot be read.
    """
    return read_document(path, MAX_POLICY_BYTES)


class Reject(Protocol):
    """Called when a policy file cannot be used."""

    def __call__(self, reason: str, *, is_first: bool) -> None:
        """Take the reason, and whether there has been no usable policy before."""


class PolicyFile(Generic[P]):
    """A policy file that is watched; the last good policy stays active.

    Args:
        path: the file, or a folder if `load` reads folders.
        parse: builds a policy from the document.
        apply: called with every usable policy.
        reject: called when the file cannot be used.
        load: reads the document.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[object], P],
        apply: Callable[[P], None],
        reject: Reject,
        *,
        load: Callable[[Path], object] = load_policy,
    ) -> None:
        self._path = path
        self._parse = parse
        self._apply = apply
        self._reject = reject
        self._load = load
        self._was_good = False
        self._stamp = (0, 0)
        self._reason = ""
        """Why the current file cannot be used; empty if it can."""

    def read(self) -> None:
        """Read the file now."""
        self._stamp = stamp(self._path)
        self._take(self._outcome())

    async def follow(self) -> None:
        """Reload the file whenever it changes, until cancelled.

        A file that cannot be used is retried: the disk may have failed temporarily.
        """
        retry_at = 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            found, now = stamp(self._path), time.monotonic()
            is_same = found == self._stamp
            if not is_same or (self._reason and now >= retry_at):
                self._stamp, retry_at = found, now + RETRY_SECONDS
                # In a thread: a folder of a thousand objects takes seconds to read.
                self._take(await asyncio.to_thread(self._outcome), is_again=is_same)

    def _outcome(self) -> P | PolicyError:
        """Return the file's policy, or the error."""
        try:
            return read_policy_file(self._path, self._parse, self._load)
        except PolicyError as error:
            return error

    def _take(self, outcome: P | PolicyError, *, is_again: bool = False) -> None:
        before, self._reason = self._reason, ""
        if isinstance(outcome, PolicyError):
            self._reason = str(outcome)
            if is_again and self._reason == before:
                return
            after = "; the last policy stays active" if self._was_good else ""
            logger.error("the policy file cannot be used%s", after, extra={"reason": str(outcome)})
            self._reject(str(outcome), is_first=not self._was_good)
            return
        self._was_good = True
        self._apply(outcome)


def read_policy_file(
    path: Path, parse: Callable[[object], P], load: Callable[[Path], object] = load_policy
) -> P:
    """Read and check a policy file.

    Args:
        path: the file, YAML or JSON.
        parse: builds a policy from the document.
        load: reads the document.

    Raises:
        PolicyError: it cannot be read, is not YAML, or is not a policy.
    """
    try:
        document = load(path)
    except DocumentError as error:
        raise PolicyError(str(error)) from error
    try:
        return parse(document)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error
