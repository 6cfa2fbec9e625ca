"""Users of a file: names and passwords, for clients such as Grafana that cannot renew tokens.

The file, such as a mounted Kubernetes Secret, lists users with name, password hash and tenants. A
hash is `scrypt$N$r$p$SALT$HASH`, salt and hash in Base64; `livery-proxy hash-password` prints one.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import DocumentError, SettingsError
from sidecar.model.fields import Fields
from sidecar.process.documents import read_document, stamp

logger = logging.getLogger(__name__)

MAX_BYTES = 4 << 20
RETRY_SECONDS = 10.0
"""Delay until a file that cannot be used is read again."""
MAX_REMEMBERED = 1000
COST, BLOCK, PARALLEL = 1 << 14, 8, 1
_MAX_COST = 1 << 17
_SALT_BYTES = 16


class User(NamedTuple):
    """One user."""

    name: str
    password_hash: str
    tenants: frozenset[str]
    is_admin: bool = False


class _Attempt(NamedTuple):
    """A name and password, and the hash to verify them against."""

    name: str
    password: str
    hash: str
    key: bytes
    """A digest of all three."""


class UsersFile:
    """Users of a file, reloaded when it changes; if it is invalid, the last good ones stay.

    Args:
        path: the file.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp(path)
        self._users = read_users(path)
        self.fault = ""
        """Why the current file is not used; empty if it is used."""
        self._retry_at = 0.0
        self._secret = os.urandom(32)
        self._known: dict[bytes, str] = {}
        """User names by the digest of a verified attempt: hashing is slow."""
        self._checking = asyncio.Semaphore(2)
        self._renewing = asyncio.Lock()

    def knows(self, header: str) -> bool:
        """Return whether the credentials in an Authorization header were verified before."""
        attempt = self._read(header)
        return self._known.get(attempt.key) == attempt.name

    @property
    def tenants(self) -> frozenset[str]:
        """All tenants that users may act as."""
        return frozenset().union(*(user.tenants for user in self._users.values()))

    def name_of(self, header: str) -> str:
        """Return the user name in an Authorization header; empty if there is no such user."""
        name, _ = _read_basic(header)
        return name if name in self._users else ""

    async def find(self, header: str) -> User | None:
        """Return the user of an Authorization header; None if name or password is wrong."""
        await self._renew()
        attempt = self._read(header)
        user = self._users.get(attempt.name)
        if user is not None and self._known.get(attempt.key) == user.name:
            return user
        async with self._checking:
            is_right = await asyncio.to_thread(verify_password, attempt.password, attempt.hash)
        if user is None or not is_right:
            return None
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[attempt.key] = user.name
        return user

    def _read(self, header: str) -> "_Attempt":
        name, password = _read_basic(header)
        user = self._users.get(name)
        # Takes as long as for an existing user: the client does not learn which names exist.
        user_hash = _NOBODY if user is None else user.password_hash
        text = f"{name}\0{password}\0{user_hash}"
        return _Attempt(name, password, user_hash, self._digest(text))

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode(), "sha256")

    async def _renew(self) -> None:
        """Reload the file if it changed; concurrent callers wait for this."""
        async with self._renewing:
            found, now = stamp(self._path), time.monotonic()
            if found == self._stamp and not (self.fault and now >= self._retry_at):
                return
            self._stamp, self._retry_at = found, now + RETRY_SECONDS
            try:
                # In a thread: thousands of users take seconds, and others must be answered.
                self._users = await asyncio.to_thread(read_users, self._path)
            except SettingsError as error:
                before = self.fault
                self.fault = f"the users file cannot be used; the last good one stays: {error}"
                if self.fault != before:
                    logger.error(self.fault)
                return
            self._known.clear()
            self.fault = ""


def read_users(path: Path) -> Mapping[str, User]:
    """Read a users file.

    Raises:
        SettingsError: it cannot be read, or a user is malformed; names the field.
    """
    try:
        document = Fields(read_document(path, MAX_BYTES), str(path), _wrong)
    except DocumentError as error:
        raise SettingsError(str(error)) from error
    if "users" not in document.value:
        raise SettingsError(f"{path}: users: missing; a list of users is needed")
    users: dict[str, User] = {}
    for item in document.each("users"):
        name = item.text("name")
        if not name or ":" in name or name in users:
            path_of_name = item.name("name")
            raise SettingsError(
                f"{path_of_name}: {name[:60]!r} is not a valid name: a unique one without a colon "
                "is needed"
            )
        password_hash = item.text("passwordHash")
        _Hash.parse(password_hash, item.name("passwordHash"))
        tenants = frozenset(item.strings("tenants"))
        users[name] = User(name, password_hash, tenants, item.flag("admin"))
    return users


def hash_password(password: str) -> str:
    """Return a password's hash, with a new salt."""
    fresh = _Hash(COST, BLOCK, PARALLEL, os.urandom(_SALT_BYTES), b"")
    shown = (base64.b64encode(part).decode() for part in (fresh.salt, fresh.digest_of(password)))
    return f"scrypt${COST}${BLOCK}${PARALLEL}${'$'.join(shown)}"


def verify_password(password: str, password_hash: str) -> bool:
    """Return whether a password matches a hash, in a time that does not depend on it."""
    kept = _Hash.parse(password_hash, "passwordHash")
    return hmac.compare_digest(kept.digest_of(password), kept.digest)


class _Hash(NamedTuple):
    """A password's hash, and the parameters of its computation."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str, path: str) -> "_Hash":
        kind, *numbers = text.split("$")
        try:
            cost, block, parallel = map(int, numbers[:3])
            salt, digest = (base64.b64decode(part, validate=True) for part in numbers[3:])
        except (ValueError, binascii.Error):
            kind, cost, block, parallel, salt, digest = "", 0, 0, 0, b"", b""
        is_bounded = 1 < cost <= _MAX_COST and 0 < block <= 16 and 0 < parallel <= 4
        if kind != "scrypt" or not is_bounded or cost & (cost - 1) or len(digest) != 32:
            raise SettingsError(f"{path}: a hash from livery-proxy hash-password is needed")
        return cls(cost, block, parallel, salt, digest)

    def digest_of(self, password: str) -> bytes:
        return hashlib.scrypt(
            password.encode(),
            salt=self.salt,
            n=self.cost,
            r=self.block,
            p=self.parallel,
            maxmem=256 * self.block * (self.cost + self.parallel + 2),
            dklen=32,
        )


def _read_basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return "", ""
    return name, password


def _wrong(path: str, reason: str) -> SettingsError:
    return SettingsError(f"{path}: {reason}")


_NOBODY = f"scrypt${COST}${BLOCK}${PARALLEL}${'A' * 24}${base64.b64encode(bytes(32)).decode()}"
