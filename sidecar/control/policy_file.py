"""A policy from a file, YAML or JSON, for proxies that run without a control service."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sidecar.errors import DocumentError, PolicyError
from sidecar.model.policy.document import MAX_POLICY_BYTES
from sidecar.process.documents import read_document, stamp

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
P = TypeVar("P")


class Reject(Protocol):
    """Hears of a file that cannot be used."""

    def __call__(self, reason: str, *, is_first: bool) -> None:
        """Take why not, and whether there was no good one before."""


class PolicyFile(Generic[P]):
    """A policy file that is watched; the last good policy stays active.

    Args:
        path: the file.
        parse: makes a policy of the document.
        apply: takes every policy that can be used.
        reject: takes why one cannot.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[object], P],
        apply: Callable[[P], None],
        reject: Reject,
    ) -> None:
        self._path = path
        self._parse = parse
        self._apply = apply
        self._reject = reject
        self._was_good = False
        self._stamp = (0, 0)

    def read(self) -> None:
        """Read the file now."""
        self._stamp = stamp(self._path)
        try:
            policy = read_policy_file(self._path, self._parse)
        except PolicyError as error:
            logger.error("the policy file cannot be used", extra={"reason": str(error)})
            self._reject(str(error), is_first=not self._was_good)
            return
        self._was_good = True
        self._apply(policy)

    async def follow(self) -> None:
        """Read it again whenever it changes, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if stamp(self._path) != self._stamp:
                self.read()


def read_policy_file(path: Path, parse: Callable[[object], P]) -> P:
    """Read and check a policy file.

    Args:
        path: the file, YAML or JSON.
        parse: makes a policy of the document.

    Raises:
        PolicyError: it cannot be read, is not YAML, or is not a policy.
    """
    try:
        document = read_document(path, MAX_POLICY_BYTES)
    except DocumentError as error:
        raise PolicyError(str(error)) from error
    try:
        return parse(document)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error
