"""The policy hub: sends each change of the cluster to exactly the proxies that it affects."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager

from injector.control.snapshots import Snapshot, build_snapshot, describe_change, update_snapshot
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform

logger = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.1
PING_SECONDS = 15.0
MAX_BEHIND = 100
"""Queue limit of a stream; beyond it, the stream is closed and the proxy reconnects."""
MAX_STREAMS_PER_POD = 3
"""A pod has one proxy; more streams are stale connections. Beyond this, the oldest is closed."""
MAX_IDLE_BYTES = 8 << 20
"""Total size of cached policies without a stream; a quick reconnect needs no rebuild."""
_PING = b'{"type":"ping"}\n'


class Stream:
    """The message queue of one proxy's connection."""

    def __init__(self, scope: Scope, pod: tuple[str, str] = ("", "")) -> None:
        self.scope = scope
        self.pod = pod
        """Namespace and name of the proxy's pod."""
        self.is_closed = False
        self._waiting: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None

    def push(self, message: bytes, *, replaces: bytes | None = None) -> None:
        """Queue a message; close the stream if its reader is too far behind.

        Args:
            message: one or more lines.
            replaces: an older message, which is dropped if it is still queued.
        """
        if replaces is not None and replaces in self._waiting:
            self._waiting.remove(replaces)
        if len(self._waiting) >= MAX_BEHIND:
            self.close()
        else:
            self._waiting.append(message)
        self._notify()

    def close(self) -> None:
        """End the stream; queued messages are dropped."""
        self.is_closed = True
        self._waiting.clear()
        self._notify()

    async def messages(self, lifetime_seconds: float) -> AsyncIterator[bytes]:
        """Yield messages, and pings when idle, until closed or the lifetime is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + lifetime_seconds
        while not self.is_closed and (left := end - loop.time()) > 0:
            if self._waiting:
                yield self._waiting.popleft()
                continue
            self._wake = loop.create_future()
            timer = loop.call_later(min(PING_SECONDS, left), self._notify)
            try:
                await self._wake
            finally:
                timer.cancel()
                self._wake = None
            if not self._has_news() and end > loop.time():
                yield _PING

    def _has_news(self) -> bool:
        return self.is_closed or bool(self._waiting)

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class PolicyHub:
    """Keeps every stream on the current policy."""

    def __init__(self, cluster: ClusterState, platform: Platform) -> None:
        self._cluster = cluster
        self._platform = platform
        self._streams: dict[Scope, set[Stream]] = {}
        self._of_pods: dict[tuple[str, str], list[Stream]] = {}
        """The same streams by pod, oldest first."""
        self._snapshots: dict[Scope, Snapshot] = {}
        self._idle: dict[Scope, int] = {}
        """Size of each cached policy without a stream, longest idle first."""
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ca_bundle = b""
        self.listeners: list[Callable[[], None]] = []
        """Called whenever changes have been published."""
        cluster.listeners.append(self.mark)

    @property
    def count(self) -> int:
        """Number of open streams."""
        return sum(map(len, self._streams.values()))

    def published_versions(self) -> dict[tuple[str, str], str]:
        """Return the policy version that was last sent to each connected pod."""
        return {
            stream.pod: self._snapshots[scope].version
            for scope, streams in self._streams.items()
            if scope in self._snapshots
            if not scope.pod  # a collector's version is that of its gateway stream
            for stream in streams
        }

    def use_platform(self, platform: Platform) -> None:
        """Build policies with other settings from now on."""
        self._platform = platform
        self._snapshots.clear()
        self._idle.clear()

    def mark(self, namespace: str) -> None:
        """Mark a namespace as changed; its proxies get their policy after the debounce."""
        self._dirty.add(namespace)
        if self._timer is None and self._snapshots:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DEBOUNCE_SECONDS, self.flush)

    def flush(self) -> None:
        """Send every proxy its policy if it changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._dirty = frozenset(self._dirty), set()
        for scope, streams in self._streams.items():
            if scope.concerns(changed):
                self._publish(scope, streams, changed)
        for scope in [scope for scope in self._idle if scope.concerns(changed)]:
            self._forget(scope)
        for listener in self.listeners:
            listener()

    def publish_ca_bundle(self, pem: str) -> None:
        """Send the CAs of the control service to every current and future stream."""
        message = json.dumps({"type": "authorities", "pem": pem}).encode() + b"\n"
        if message == self._ca_bundle:
            return
        self._ca_bundle = message
        for streams in self._streams.values():
            for stream in list(streams):
                stream.push(message)

    @contextmanager
    def open(self, scope: Scope, version: str, pod: tuple[str, str] = ("", "")) -> Iterator[Stream]:
        """Open a proxy's stream; it begins with a snapshot unless `version` is current."""
        stream = Stream(scope, pod)
        if self._ca_bundle:
            stream.push(self._ca_bundle)
        if self._dirty:
            self.flush()  # otherwise the new snapshot hides the change from other streams
        snapshot = self._snapshots.get(scope) or self._build(scope)
        self._idle.pop(scope, None)
        if snapshot.version == version:
            current = json.dumps({"type": "current", "version": version}).encode() + b"\n"
            stream.push(current)
        else:
            stream.push(snapshot.message)
        self._streams.setdefault(scope, set()).add(stream)
        others = self._of_pods.setdefault(pod, [])
        if len(others) >= MAX_STREAMS_PER_POD:
            others.pop(0).close()
        others.append(stream)
        try:
            yield stream
        finally:
            self._leave(stream)

    def close_all(self) -> None:
        """End every stream at shutdown; the proxies reconnect to another replica."""
        for streams in self._streams.values():
            for stream in streams:
                stream.close()

    def _leave(self, stream: Stream) -> None:
        others = self._of_pods.get(stream.pod, [])
        if stream in others:
            others.remove(stream)
        if not others:
            self._of_pods.pop(stream.pod, None)
        streams = self._streams.get(stream.scope)
        if streams is not None:
            streams.discard(stream)
            if not streams:
                del self._streams[stream.scope]
                self._keep_idle(stream.scope)

    def _keep_idle(self, scope: Scope) -> None:
        snapshot = self._snapshots.get(scope)
        if snapshot is None:
            return
        self._idle[scope] = len(snapshot.message)
        while sum(self._idle.values()) > MAX_IDLE_BYTES:
            self._forget(next(iter(self._idle)))

    def _forget(self, scope: Scope) -> None:
        del self._idle[scope]
        self._snapshots.pop(scope, None)

    def _publish(self, scope: Scope, streams: Iterable[Stream], changed: frozenset[str]) -> None:
        before = self._snapshots.get(scope)
        if before is None:
            after = self._build(scope)
        else:
            after = update_snapshot(
                before, changed, cluster=self._cluster, scope=scope, platform=self._platform
            )
            self._snapshots[scope] = after
        if before is not None and after.version == before.version:
            return
        message, replaced = describe_change(before, after)
        for stream in list(streams):
            stream.push(message, replaces=replaced)

    def _build(self, scope: Scope) -> Snapshot:
        snapshot = build_snapshot(self._cluster, scope, self._platform)
        self._snapshots[scope] = snapshot
        return snapshot
