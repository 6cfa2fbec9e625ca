"""The pods of a node, asked for beside its metrics where series shall wear what is theirs."""

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
"""Where there was never an answer."""
PATIENCE_SECONDS = 1.0
"""What a scrape waits where there was one."""


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
        apply: Callable[[PodIndex, Collection[str]], None],
    ) -> None:
        self._kubelet = kubelet
        self._wanted = wanted
        self._apply = apply
        self._task: asyncio.Task[None] | None = None
        self._next_at = 0.0
        self._index: PodIndex | None = None
        self.error = ""
        """Why the last question was not answered; empty where it was."""

    async def refresh(self, deadline: float) -> None:
        """Ask, unless that was done just now.

        Args:
            deadline: of the scrape, by the loop's clock. Where an answer is known already, little
                of the time is spent on a new one: it comes for the next scrape.

        Raises:
            UpstreamTimeoutError: there was never an answer, and none in time.
            UpstreamError: there was never one: series would go without what they wear.
        """
        loop = asyncio.get_running_loop()
        if self._task is None and loop.time() >= self._next_at:
            # A task of its own: a scraper that goes away takes the answer from nobody.
            self._task = asyncio.create_task(self._ask())
        if self._task is not None:
            seconds = deadline - loop.time()
            if self._index is not None:
                seconds = min(seconds, PATIENCE_SECONDS)
            await asyncio.wait([self._task], timeout=max(0.0, seconds))
        if self._index is None:
            if not self.error:
                raise UpstreamTimeoutError("the kubelet did not tell its pods in time")
            raise UpstreamError(self.error)

    def close(self) -> None:
        """Ask no further."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._take(PodIndex(await self._fetch(), self._wanted))
        except LiveryError as error:
            self._note_failure(str(error))
        except TimeoutError:
            self._note_failure("the kubelet did not tell its pods in time")
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
            logger.warning("the node's pods are not known", extra={"reason": reason})
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
                await asyncio.sleep(0)  # scrapes go on between two parts
        return reader.finish()
