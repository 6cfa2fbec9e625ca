"""Secrets in files: read at each use, because the kubelet and others renew them in place."""

from pathlib import Path

from sidecar.errors import UpstreamError

MAX_SECRET_BYTES = 64 << 10


def read_secret(path: Path, what: str) -> str:
    """Return a file's text without the white space around it.

    Args:
        path: the file.
        what: its name in error messages.

    Raises:
        UpstreamError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        if len(content) > MAX_SECRET_BYTES:
            raise UpstreamError(f"{what}: {path} is over {MAX_SECRET_BYTES >> 10} KiB")
        return content.decode().strip()
    except OSError as error:
        raise UpstreamError(f"{what}: cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or an invalid path
        raise UpstreamError(f"{what}: cannot read {path}: {error}") from error


def read_token(path: Path, what: str) -> str:
    """Return a bearer token.

    Args:
        path: the file that holds it.
        what: its name in error messages.

    Raises:
        UpstreamError: it cannot be read, or contains characters that an HTTP header may not.
    """
    token = read_secret(path, what)
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UpstreamError(f"{what}: {path} does not contain a valid token")
    return token
