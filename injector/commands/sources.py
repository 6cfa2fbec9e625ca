"""Reads the inputs of commands: files, folders, URLs and standard input."""

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from injector.errors import ManifestError, SettingsError
from injector.files.manifests import MAX_FILE_BYTES

STANDARD_INPUT = "standard input"
_SUFFIXES = frozenset([".yaml", ".yml", ".json"])
_TIMEOUT_SECONDS = 30.0
_PART_BYTES = 64 << 10
# No handler of files or FTP, to which a server could redirect.
_OPENER = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
):  # fmt: skip
    _OPENER.add_handler(_handler())


def read_sources(name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file that an argument refers to.

    Args:
        name: a file, a folder of `.yaml`, `.yml` and `.json` files, a URL, or `-`.

    Raises:
        SettingsError: a file or URL cannot be read, or a folder has no manifest.
        ManifestError: standard input is not UTF-8.
    """
    if not name:
        raise SettingsError("the name of a file is empty; is a variable not set?")
    if name == "-":
        yield STANDARD_INPUT, _read_standard_input()
    elif name.startswith(("http://", "https://")):
        yield name, _read_url(name)
    elif Path(name).is_dir():
        found = sorted(path for path in Path(name).iterdir() if path.suffix in _SUFFIXES)
        if not found:
            raise SettingsError(f"{name}: the folder contains no .yaml, .yml or .json file")
        yield from ((str(path), read_text(path)) for path in found if path.is_file())
    else:
        yield name, read_text(Path(name))


def read_text(path: Path) -> str:
    """Read a file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            return _bounded(file.read(MAX_FILE_BYTES + 1), str(path)).decode()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8: {error.reason}") from error


def _read_in_time(answer: http.client.HTTPResponse) -> bytes:
    """Read a body in parts, since the timeout of a connection starts anew with each byte."""
    content, deadline = bytearray(), time.monotonic() + _TIMEOUT_SECONDS
    while len(content) <= MAX_FILE_BYTES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not complete within {_TIMEOUT_SECONDS:g} s")
        part = answer.read1(_PART_BYTES)
        if not part:
            break
        content += part
    return bytes(content)


def _bounded(content: bytes, source: str) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"{source}: larger than {MAX_FILE_BYTES >> 20} MiB")
    return content


def _read_url(url: str) -> str:
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise SettingsError("a URL with a user name is not supported: download the file first")
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            content = _bounded(_read_in_time(answer), url)
            if answer.length:
                raise SettingsError(f"{url}: the answer is incomplete")
        return content.decode("utf-8")
    except urllib.error.HTTPError as error:
        error.close()
        raise SettingsError(f"{url}: the server answered {error.code} {error.reason}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{url}: not UTF-8: {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SettingsError(f"{url}: {getattr(reason, 'strerror', None) or reason}") from error


def _read_standard_input() -> str:
    try:
        return _bounded(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), STANDARD_INPUT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(STANDARD_INPUT, 0, f"not UTF-8: {error.reason}") from error
