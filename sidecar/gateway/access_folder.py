"""Reads MetricAccess objects from a folder, for a gateway without a control service."""

import logging
from collections.abc import Iterator
from pathlib import Path

from sidecar.errors import DocumentError, RuleError
from sidecar.model.access.objects import (
    EVERY_NAMESPACE,
    KIND,
    Grant,
    ReadAccess,
    grant_of,
    read_access,
    rule_of,
)
from sidecar.process.documents import read_documents

logger = logging.getLogger(__name__)

MAX_FILES = 10_000
MAX_FILE_BYTES = 4 << 20
MAX_BYTES = 64 << 20
_SUFFIXES = frozenset([".yaml", ".yml", ".json"])


def read_access_folder(path: Path, *, grants_all: bool) -> dict[str, object]:
    """Read the MetricAccess objects of a folder, or of one file, as a policy document.

    Parts of an object that cannot be used grant nothing, and are logged.

    Args:
        path: the folder or file.
        grants_all: whether objects may read every namespace that they ask for; else only their own.

    Raises:
        DocumentError: the folder or a file cannot be read.
    """
    tenants: dict[str, list[object]] = {}
    granted = frozenset([EVERY_NAMESPACE] if grants_all else [])
    for file, document in _documents(path):
        if not isinstance(document, dict) or document.get("kind") != KIND:
            continue
        try:
            access = read_access(document)
        except RuleError as error:
            _warn(file, "?", str(error))
            continue
        grant = grant_of(access, granted)
        name = f"{access.namespace}/{access.name}"
        for reason in _problems(access, grant):
            _warn(file, name, reason)
        rule = rule_of(access, grant)
        if rule is not None and access.namespace:
            tenants.setdefault(access.namespace, []).append(rule)
    return {"tenants": tenants}


def _problems(access: ReadAccess, grant: Grant) -> Iterator[str]:
    yield from filter(None, (access.error, grant.note))
    if not access.namespace:
        yield "metadata.namespace: missing; the object grants nothing"
    yield from access.pattern_problems


def _warn(file: str, name: str, reason: str) -> None:
    extra = {"file": file, "object": name, "reason": reason}
    logger.warning("an object does not take effect as written", extra=extra)


def _documents(path: Path) -> Iterator[tuple[str, object]]:
    size = 0
    for file in _files(path):
        size += _measure(file)
        if size > MAX_BYTES:
            raise DocumentError(f"{path}: its files together are over {MAX_BYTES >> 20} MiB")
        for document in read_documents(file, MAX_FILE_BYTES):
            for item in _items(document):
                yield str(file), item


def _measure(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DocumentError(f"{file}: {error.strerror or error}") from error


def _items(document: object) -> list[object]:
    """Return the objects of a document, which may be a Kubernetes List."""
    if not isinstance(document, dict) or document.get("kind") != "List":
        return [document]
    items = document.get("items")
    return items if isinstance(items, list) else []


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    try:
        found = sorted(item for item in path.iterdir() if item.suffix in _SUFFIXES)
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror or error}") from error
    if len(found) > MAX_FILES:
        raise DocumentError(f"{path}: more than {MAX_FILES} files")
    return found
