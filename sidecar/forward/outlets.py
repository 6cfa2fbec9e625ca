"""The outlets of a sender's rules: kept while receivers stay the same, flushed when a rule ends."""

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
"""How long queued samples are still sent after a rule is gone."""
END_SECONDS = 0.5
"""How long after its time limit a flush may still take to end."""
_CONTROL_PLANE = "KUBERNETES_SERVICE_HOST"


class Outlets:
    """Creates outlets and ends them.

    Args:
        environ: environment with the control plane's address, to which nothing is sent.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._forbidden = frozenset(_addresses(environ.get(_CONTROL_PLANE, "")))
        self._resolver = Resolver(look_up)
        self._leaving: set[asyncio.Task[None]] = set()
        """Tasks that send the queues of rules that are gone."""

    def outlet(
        self,
        rule: ForwardRule,
        around: Forwarding,
        known: Outlet | None,
        *,
        limit_bytes: int,
        namespace: str,
    ) -> Outlet:
        """Return the outlet of a rule: the existing one if its receivers are the same.

        Args:
            rule: the rule.
            around: the forwarding policy, with allowed address ranges and credentials.
            known: the rule's existing outlet; None for none.
            limit_bytes: maximum size of the queue of one receiver.
            namespace: namespace of the rule's object.
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
        """Send the queues of a rule that is gone; `is_ended`: nobody else continues it."""
        task = asyncio.ensure_future(outlet.flush(seconds, is_ended=is_ended))
        self._leaving.add(task)
        task.add_done_callback(self._left)

    async def flush(
        self, outlets: Iterable[Outlet], seconds: float, *, is_ended: bool = True
    ) -> None:
        """Send all queues within a time limit, including those of rules that are gone."""
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
            logger.error("queued samples cannot be sent", exc_info=error)


def _addresses(text: str) -> Iterator[Address]:
    with contextlib.suppress(ValueError):
        yield ipaddress.ip_address(text)
