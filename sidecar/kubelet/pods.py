"""The pods of a node, fetched with its metrics so that series can get their pods' labels."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from sidecar.errors import LiveryError, UpstreamError, UpstreamTimeoutError
from sidecar.kubelet.client import KubeletClient
from sidecar.model.pods.index import PodIndex, PodLabels
from sidecar.model.pods.pod_list import Pod
from sidecar.model.pods.pod_stream import PodListReader

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""Retry delay until the first successful pod list."""
PATIENCE_SECONDS = 1.0
"""How long a scrape waits for a newer list if there is one already."""


class KubeletPods:
    """The index of one kubelet's pods; the last good one is kept when a fetch fails.

    Args:
        kubelet: client for the kubelet.
        wanted: labels and annotations of pods to add to series.
        apply: called with a new index, and substrings: every affected series contains at least
            one.
    """

    def __init__(
        self,
        kubelet: KubeletClient,
        wanted: PodLabels,
        apply: Callable[[PodIndex, Collection[str]], None],
    ) -> None:
        self._kubelet = kubelet
        self._wanted = wanted
        self._apply = apply
        self._task: asyncio.Task[None] | None = None
        self._next_at = 0.0
        self._index: PodIndex | None = None
        self.error = ""
        """Why the last fetch failed; empty if it succeeded."""

    async def refresh(self, deadline: float) -> None:
        """Fetch the pods, unless that was done recently.

        Args:
            deadline: of the scrape, by the loop's clock. If there is a list already, the scrape
                waits only briefly for a newer one, which then serves the next scrape.

        Raises:
            UpstreamTimeoutError: there is no list yet, and none arrived in time.
            UpstreamError: there is no list yet, so series would lack their pods' labels.
        """
        loop = asyncio.get_running_loop()
        if self._task is None and loop.time() >= self._next_at:
            # A separate task: a scraper that disconnects does not cancel it for the others.
            self._task = asyncio.create_task(self._ask())
        if self._task is not None:
            seconds = deadline - loop.time()
            if self._index is not None:
                seconds = min(seconds, PATIENCE_SECONDS)
            await asyncio.wait([self._task], timeout=max(0.0, seconds))
        if self._index is None:
            if not self.error:
                raise UpstreamTimeoutError("the kubelet did not send its pod list in time")
            raise UpstreamError(self.error)

    def close(self) -> None:
        """Cancel a fetch that is running."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._take(PodIndex(await self._fetch(), self._wanted))
        except LiveryError as error:
            self._note_failure(str(error))
        except TimeoutError:
            self._note_failure("the kubelet did not send its pod list in time")
        finally:
            self._task = None

    def _take(self, index: PodIndex) -> None:
        changes = index.changes(self._index or PodIndex((), self._wanted))
        if changes or self._index is None:
            self._apply(index, changes)
            self._index = index
        self.error = ""
        self._next_at = asyncio.get_running_loop().time() + REFRESH_SECONDS

    def _note_failure(self, reason: str) -> None:
        if reason != self.error:
            logger.warning("the node's pods cannot be fetched", extra={"reason": reason})
        self.error = reason
        wait_seconds = RETRY_SECONDS if self._index is None else REFRESH_SECONDS
        self._next_at = asyncio.get_running_loop().time() + wait_seconds

    async def _fetch(self) -> tuple[Pod, ...]:
        parts = await self._kubelet.get(
            "/pods", accept="application/json", timeout_seconds=TIMEOUT_SECONDS
        )
        reader = PodListReader(self._wanted.trim)
        async with contextlib.aclosing(parts):
            async for some in parts:
                reader.feed(b"".join(some))
                await asyncio.sleep(0)  # lets scrapes run between two parts
        return reader.finish()
