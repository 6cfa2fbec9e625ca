"""Identity from a folder of tokens: `<namespace>/<pod>` holds the token of that pod."""

import hashlib
import time
from pathlib import Path

from injector.control.identity import Caller
from injector.errors import IdentityError

MAX_TOKEN_BYTES = 16 << 10
REFRESH_SECONDS = 1.0
"""Interval between folder reads for known tokens, which are checked for each message."""
REFRESH_UNKNOWN_SECONDS = 0.05
"""Interval between folder reads for unknown tokens, which may be newly written."""


class FolderAuthenticator:
    """Looks tokens up by their hash; reads the folder again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._callers: dict[bytes, Caller] = {}
        self._stamps: dict[Path, int] = {}
        self._refreshed_at = float("-inf")

    async def authenticate(self, token: str, peer: str = "") -> Caller:
        """Return the pod whose file holds the token.

        Raises:
            IdentityError: no file holds the token, or the folder cannot be read.
        """
        key = _hash(token.encode(errors="surrogatepass"))
        interval = REFRESH_SECONDS if key in self._callers else REFRESH_UNKNOWN_SECONDS
        now = time.monotonic()
        if now - self._refreshed_at >= interval:
            try:
                self._refresh()
            except OSError as error:
                raise IdentityError(503, "the token folder cannot be read") from error
            self._refreshed_at = now
        caller = self._callers.get(key)
        if caller is None:
            raise IdentityError(401, "the token is unknown")
        return caller

    async def is_still_valid(self, token: str, caller: Caller) -> bool:
        """Return whether the token still belongs to the caller's pod."""
        try:
            return await self.authenticate(token) == caller
        except IdentityError:
            return False

    def _refresh(self) -> None:
        stamps = {
            path: path.stat().st_mtime_ns
            for path in sorted(self._folder.glob("*/*"))
            if path.is_file()
        }
        if stamps == self._stamps:
            return
        found: dict[bytes, list[Caller]] = {}
        for path in list(stamps):
            try:
                content = path.read_bytes()
            except OSError:
                del stamps[path]  # only this pod is unknown; the file is tried again
                continue
            token = content.strip()
            if not token or len(content) > MAX_TOKEN_BYTES:
                continue
            namespace, pod = path.parent.name, path.name
            found.setdefault(_hash(token), []).append(
                Caller(namespace, pod, "", f"{namespace}/default")
            )
        self._stamps = stamps
        # A token in the files of two pods identifies neither.
        self._callers = {key: callers[0] for key, callers in found.items() if len(callers) == 1}


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
