"""Name resolution in threads of its own, so that a slow name server delays only its callers.

In the event loop's own thread pool, pending lookups would block the parsing of large scrapes.
"""

import asyncio
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from sidecar.errors import UpstreamError

TIMEOUT_SECONDS = 10.0
MAX_LOOKUPS = 256
"""Concurrent lookups; a hanging one counts until the system gives up."""
MAX_LOOKUPS_OF_ONE = 4
"""Concurrent lookups of one tenant, so that its hanging names do not delay another's."""
REMEMBERED_SECONDS = 5.0
"""How long a failed lookup is not repeated; senders retry more often."""
MAX_REMEMBERED = 1000

Addresses = Sequence[str]


class Resolver:
    """Resolves names; concurrent requests for the same name share one lookup.

    Args:
        look_up: returns the addresses of a name, and may take arbitrarily long.

    Raises:
        OSError: from `look_up`, if there are no addresses.
    """

    def __init__(self, look_up: Callable[[str], Addresses]) -> None:
        self._look_up = look_up
        self._pending: dict[str, asyncio.Future[Addresses]] = {}
        self._running: Counter[str] = Counter()
        """Running lookups by the tenant that requested them first."""
        self._failed: dict[str, tuple[float, str]] = {}
        """Failed lookups by name: until when they are not repeated, and why they failed."""

    async def resolve(self, host: str, asker: str = "") -> Addresses:
        """Return the addresses of a name.

        Args:
            host: a name, or an address, which is returned unchanged.
            asker: namespace of the tenant that needs it.

        Raises:
            UpstreamError: the name has no addresses, or the lookup takes too long.
        """
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await asyncio.shield(self._ask(host, asker))
        except (OSError, UnicodeError) as error:
            reason = str(error) or "no response in time"
            raise UpstreamError(f"{host}: the name lookup failed: {reason}") from error

    def _ask(self, host: str, asker: str) -> asyncio.Future[Addresses]:
        pending = self._pending.get(host)
        if pending is not None:
            return pending
        until, reason = self._failed.get(host, (0.0, ""))
        if time.monotonic() < until:
            raise OSError(reason)
        if self._running[asker] >= MAX_LOOKUPS_OF_ONE or self._running.total() >= MAX_LOOKUPS:
            raise OSError("too many other lookups are still running")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()
        # Retrieves the exception, because the caller may be gone; else asyncio logs a warning.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pending[host] = answer
        self._running[asker] += 1
        # A daemon thread: the process may end before the system gives up a lookup.
        thread = threading.Thread(target=self._work, args=(host, asker, loop), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads can be started
            self._finish(host, asker, OSError(str(error)))
        return answer

    def _work(self, host: str, asker: str, loop: asyncio.AbstractEventLoop) -> None:
        found: Addresses | Exception
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError) as error:
            found = error
        try:
            loop.call_soon_threadsafe(self._finish, host, asker, found)
        except RuntimeError:
            return  # the loop has ended

    def _finish(self, host: str, asker: str, found: Addresses | Exception) -> None:
        self._running[asker] -= 1
        self._running += Counter()  # drops tenants without lookups
        answer = self._pending.pop(host)
        if isinstance(found, Exception):
            if len(self._failed) >= MAX_REMEMBERED:
                self._failed.clear()
            self._failed[host] = (time.monotonic() + REMEMBERED_SECONDS, str(found))
            answer.set_exception(found)
        else:
            self._failed.pop(host, None)
            answer.set_result(found)


def look_up(host: str) -> Addresses:
    """Return the addresses of a name, from the system's resolver.

    Raises:
        OSError: there are none.
        UnicodeError: the name is invalid.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))
