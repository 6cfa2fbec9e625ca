"""The pods of a node, asked for beside its metrics where series shall wear what is theirs."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from sidecar.errors import LimitError, LiveryError, UpstreamTimeoutError
from sidecar.kubelet import KubeletClient
from sidecar.model.pod_index import PodIndex, PodLabels
from sidecar.model.pods import MAX_PODS_BYTES, read_pods

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0


class KubeletPods:
    """The index of one kubelet's pods; the last good one stays.

    Args:
        kubelet: whom to ask.
        wanted: what series wear of a pod.
        apply: takes a new index, and texts of which each series that it concerns holds one.
    """

    def __init__(
        self,
        kubelet: KubeletClient,
        wanted: PodLabels,
        apply: Callable[[PodIndex, list[str]], None],
    ) -> None:
        self._kubelet = kubelet
        self._wanted = wanted
        self._apply = apply
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._index: PodIndex | None = None
        self.error = ""
        """Why the last question was not answered; empty where it was."""

    async def refresh(self, timeout_seconds: float) -> None:
        """Ask, unless that was done just now.

        Raises:
            LiveryError: there was never an answer: series would go without what they wear.
        """
        async with self._lock:
            if time.monotonic() - self._asked_at >= REFRESH_SECONDS:
                await self._ask(timeout_seconds)

    async def _ask(self, timeout_seconds: float) -> None:
        try:
            pods = read_pods(await self._fetch(timeout_seconds))
        except LiveryError as error:
            if str(error) != self.error:
                logger.warning("the node's pods are not known", extra={"reason": str(error)})
            self.error = str(error)
            if self._index is None:
                raise
            self._asked_at = time.monotonic()
            return
        self.error, self._asked_at = "", time.monotonic()
        index = PodIndex(pods, self._wanted)
        changes = index.changes(self._index or PodIndex((), self._wanted))
        if changes or self._index is None:
            self._index = index
            self._apply(index, changes)

    async def _fetch(self, timeout_seconds: float) -> bytes:
        parts = await self._kubelet.get(
            "/pods", accept="application/json", timeout_seconds=timeout_seconds
        )
        body: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(timeout_seconds), contextlib.aclosing(parts):
                async for some in parts:
                    body += some
                    size += sum(map(len, some))
                    if size > MAX_PODS_BYTES:
                        limit = f"{MAX_PODS_BYTES >> 20} MiB"
                        raise LimitError(f"the kubelet's pods are more than {limit}")
        except TimeoutError:
            reason = "the kubelet's pods were not whole in the scrape's time"
            raise UpstreamTimeoutError(reason) from None
        return b"".join(body)
