"""Identity from a folder of tokens: `<namespace>/<pod>` holds the token of that pod."""

import hashlib
from pathlib import Path

from injector.control.identity import Caller
from injector.errors import IdentityError

MAX_TOKEN_BYTES = 16 << 10


class FolderAuthenticator:
    """Knows a token by its hash; the folder is read again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._callers: dict[bytes, Caller] = {}
        self._stamps: dict[Path, int] = {}

    async def authenticate(self, token: str) -> Caller:
        """Return the pod whose file holds the token.

        Raises:
            IdentityError: no file holds it.
        """
        try:
            self._refresh()
        except OSError as error:
            raise IdentityError(503, "the tokens cannot be read now") from error
        caller = self._callers.get(_hash(token))
        if caller is None:
            raise IdentityError(401, "the token is not known")
        return caller

    def _refresh(self) -> None:
        stamps = {
            path: path.stat().st_mtime_ns
            for path in sorted(self._folder.glob("*/*"))
            if path.is_file()
        }
        if stamps == self._stamps:
            return
        self._stamps = stamps
        self._callers = {}
        for path in stamps:
            token = path.read_bytes()[:MAX_TOKEN_BYTES].decode("ascii", "replace").strip()
            if token:
                namespace, pod = path.parent.name, path.name
                self._callers[_hash(token)] = Caller(namespace, pod, "", f"{namespace}/default")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
