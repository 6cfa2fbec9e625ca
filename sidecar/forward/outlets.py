"""The outlets of one sender's rules: kept where receivers stay, emptied where a rule goes."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping

from sidecar.forward.addresses import Address
from sidecar.forward.outlet import Outlet
from sidecar.forward.resolver import Resolver, look_up
from sidecar.model.policy.forward import Forwarding, ForwardRule

logger = logging.getLogger(__name__)

LINGER_SECONDS = 30.0
"""How long what waits is still sent when a rule is gone."""
END_SECONDS = 0.5
"""How much later than its time a flush has ended."""
_CONTROL_PLANE = "KUBERNETES_SERVICE_HOST"


class Outlets:
    """Makes outlets and ends them.

    Args:
        environ: names the control plane's address, to which nothing is sent.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._forbidden = frozenset(_addresses(environ.get(_CONTROL_PLANE, "")))
        self._resolver = Resolver(look_up)
        self._leaving: set[asyncio.Task[None]] = set()
        """They send the rest of rules that are gone."""

    def outlet(
        self,
        rule: ForwardRule,
        around: Forwarding,
        known: Outlet | None,
        *,
        limit_bytes: int,
        namespace: str,
    ) -> Outlet:
        """Return the outlet of a rule: the one that is known, where its receivers are the same.

        Args:
            rule: whose.
            around: by which receivers are reached.
            known: the rule's outlet until now; None for none.
            limit_bytes: of all that waits for one receiver.
            namespace: of the rule's object.
        """
        if known is not None and known.serves(rule, around):
            known.resize(limit_bytes)
            return known
        return Outlet(
            rule,
            around,
            self._forbidden,
            resolver=self._resolver,
            limit_bytes=limit_bytes,
            namespace=namespace,
        )

    def leave(
        self, outlet: Outlet, seconds: float = LINGER_SECONDS, *, is_ended: bool = True
    ) -> None:
        """Send the rest of a rule that is gone; `is_ended` says that nobody goes on with it."""
        task = asyncio.ensure_future(outlet.flush(seconds, is_ended=is_ended))
        self._leaving.add(task)
        task.add_done_callback(self._left)

    async def flush(
        self, outlets: Iterable[Outlet], seconds: float, *, is_ended: bool = True
    ) -> None:
        """Send what waits, for so long at most, that of rules that are gone with it."""
        for outlet in outlets:
            self.leave(outlet, seconds, is_ended=is_ended)
        if self._leaving:
            _, late = await asyncio.wait(self._leaving, timeout=seconds + END_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("what waited cannot be sent", exc_info=error)


def _addresses(text: str) -> Iterator[Address]:
    with contextlib.suppress(ValueError):
        yield ipaddress.ip_address(text)
