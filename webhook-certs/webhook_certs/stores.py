"""Storage of the CAs: a protocol, and its implementation as a folder.

A store contains a list of generations, newest last. A generation is a CA with the certificate by
which the CA before it cross-signs it.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from webhook_certs.authority import Authority
from webhook_certs.errors import CertificateError, ConflictError

FILE_NAME = "authorities.json"


class Generation(NamedTuple):
    """A CA and the certificate by which the CA before it cross-signs it, PEM."""

    authority: Authority
    cross_signed_pem: str = ""


class Kept(NamedTuple):
    """The content of a store, and the version that a change must name."""

    generations: tuple[Generation, ...]
    version: str


class Store(Protocol):
    """Stores generations; `save` replaces only the version that was loaded."""

    def load(self) -> Kept:
        """Return the content; no generations if nothing was saved yet."""

    def save(self, generations: tuple[Generation, ...], version: str) -> Kept:
        """Replace the content.

        Raises:
            ConflictError: the content has another version now.
        """


class FolderStore:
    """Generations in one file, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def load(self) -> Kept:
        """Return the content of the file.

        Raises:
            CertificateError: the file cannot be read or is invalid.
        """
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return Kept((), "")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CertificateError(f"{self._path}: {reason}") from error
        return Kept(decode_generations(text, str(self._path)), _version(text))

    def save(self, generations: tuple[Generation, ...], version: str) -> Kept:
        """Write the file atomically.

        Raises:
            ConflictError: the file changed since it was loaded.
            CertificateError: it cannot be written.
        """
        text = encode_generations(generations)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self._path.with_suffix(".lock")):
                if self.load().version != version:
                    raise ConflictError(f"{self._path} was changed by another process")
                self._replace(text)
        except OSError as error:
            raise CertificateError(f"{self._path}: {error.strerror or error}") from error
        return Kept(generations, _version(text))

    def _replace(self, text: str) -> None:
        # mkstemp makes the file unreadable to others before a secret is written to it.
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".authorities-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)  # it holds a private key
            raise


def _version(text: str) -> str:
    # A hash, not the text, which contains keys: a version may be shown.
    return hashlib.sha256(text.encode()).hexdigest()


def encode_generations(generations: tuple[Generation, ...]) -> str:
    """Write generations as JSON."""
    items = [
        {
            "certificate": item.authority.certificate_pem,
            "key": item.authority.key_pem,
            "crossSigned": item.cross_signed_pem,
        }
        for item in generations
    ]
    return json.dumps({"generations": items}, indent=1)


def decode_generations(text: str, source: str) -> tuple[Generation, ...]:
    """Read what `encode_generations` wrote.

    Raises:
        CertificateError: the text is something else.
    """
    try:
        items = _list(json.loads(text)["generations"])
        names = ("certificate", "key", "crossSigned")
        fields = [[_text(item[name]) for name in names] for item in items]
        return tuple(Generation(Authority(pem, key), crossed) for pem, key, crossed in fields)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CertificateError(f"{source} does not contain valid CAs") from None


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
