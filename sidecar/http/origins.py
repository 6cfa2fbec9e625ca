"""Redirects: which are followed, and where they lead."""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from sidecar.errors import UpstreamError

REDIRECTS = (301, 302, 303, 307, 308)
MAX_LOCATION_CHARACTERS = 2048
_PORTS = {"http": 80, "https": 443}
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class Origin(NamedTuple):
    """Scheme, host and port of a server; a redirect to another origin is not followed."""

    scheme: str
    host: str
    """As in the `Host` header, with an IPv6 address in brackets."""
    port: int

    @property
    def authority(self) -> str:
        """The `Host` header."""
        return f"{self.host}:{self.port}"

    def follow(self, path: str, location: str) -> str:
        """Return the path and query to request next.

        Args:
            path: the path that was requested.
            location: the Location header of the response.

        Raises:
            UpstreamError: the location is missing, not a URL, or of another origin.
        """
        shown = repr(location[:200])
        if not location or len(location) > MAX_LOCATION_CHARACTERS:
            raise UpstreamError(f"redirected to a Location that cannot be followed: {shown}")
        try:
            parts = urlsplit(urljoin(f"{self.scheme}://{self.authority}{path}", location))
            is_own = self._is_own(parts)
        except ValueError:
            raise UpstreamError(f"redirected to {shown}, which is not a URL") from None
        if not is_own:
            raise UpstreamError(
                f"redirected to {shown}; only redirects to "
                f"{self.scheme}://{self.authority} are followed"
            )
        query = f"?{parts.query}" if parts.query else ""
        return quote(re.sub(r"^/*", "/", parts.path) + query, safe=_SAFE, encoding="latin-1")

    def _is_own(self, parts: SplitResult) -> bool:
        port = parts.port or _PORTS.get(parts.scheme)
        host = (parts.hostname or "").lower()
        own = (self.scheme, self.host.strip("[]").lower(), self.port)
        return (parts.scheme, host, port) == own
