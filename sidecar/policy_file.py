"""A policy from a file, YAML or JSON, for proxies that run without a control service."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from sidecar.errors import PolicyError
from sidecar.model.policy import MAX_POLICY_BYTES, Policy, parse_policy

logger = logging.getLogger(__name__)

MAX_DEPTH = 50
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
        self._stamp = _stamp(self._path)
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
            if _stamp(self._path) != self._stamp:
                self.read()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return stat.st_mtime_ns, stat.st_size


def read_policy_file(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        PolicyError: it cannot be read, is not YAML, or is not a policy.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_POLICY_BYTES + 1)
        if len(content) > MAX_POLICY_BYTES:
            raise PolicyError(f"{path}: more than {MAX_POLICY_BYTES} bytes")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: {error}") from error
    try:
        return parse_policy(_load(text))
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # Imported only here: a proxy in a cluster gets its policy as JSON and does not pay for it.
        import yaml

        try:
            _check_events(yaml.parse(text))
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError, KeyError) as error:
            raise PolicyError(f"not YAML: {' '.join(str(error).split())}") from error


def _check_events(events: Iterable[object]) -> None:
    """Refuse what a few lines of YAML can blow up: copies by alias, depth without end."""
    depth = 0
    for event in events:
        name = type(event).__name__
        if name == "AliasEvent":
            raise PolicyError("aliases (*name) are not read here; write the value out")
        if name.startswith(("Sequence", "Mapping")):
            depth += 1 if name.endswith("StartEvent") else -1
        if depth > MAX_DEPTH:
            raise PolicyError(f"not YAML: nested deeper than {MAX_DEPTH} levels")
