"""A policy from a file, YAML or JSON, for proxies that run without a control service."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sidecar.errors import DocumentError, PolicyError
from sidecar.model.policy.document import MAX_POLICY_BYTES, Policy, parse_policy
from sidecar.process.documents import read_document, stamp

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class Reject(Protocol):
    """Hears of a file that cannot be used."""

    def __call__(self, reason: str, *, is_first: bool) -> None:
        """Take why not, and whether there was no good one before."""


class PolicyFile:
    """A policy file that is watched; the last good one stays in force.

    Args:
        path: the file.
        apply: takes every policy that can be used.
        reject: takes why one cannot.
    """

    def __init__(self, path: Path, apply: Callable[[Policy], None], reject: Reject) -> None:
        self._path = path
        self._apply = apply
        self._reject = reject
        self._was_good = False
        self._stamp = (0, 0)

    def read(self) -> None:
        """Read the file now."""
        self._stamp = stamp(self._path)
        try:
            policy = read_policy_file(self._path)
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


def read_policy_file(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        PolicyError: it cannot be read, is not YAML, or is not a policy.
    """
    try:
        document = read_document(path, MAX_POLICY_BYTES)
    except DocumentError as error:
        raise PolicyError(str(error)) from error
    try:
        return parse_policy(document)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error
