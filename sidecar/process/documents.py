"""Documents in files, YAML or JSON, of bounded size and depth."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sidecar.errors import DocumentError

MAX_DEPTH = 50


def read_document(path: Path, max_bytes: int) -> object:
    """Read a file.

    Raises:
        DocumentError: it cannot be read, is too large, is neither YAML nor JSON, or has a key
            twice; the message names the file.
    """
    return next(iter(_read(path, max_bytes, is_single=True)), None)


def read_documents(path: Path, max_bytes: int) -> list[object]:
    """Read a file of several documents, such as manifests; empty documents are skipped.

    Raises:
        DocumentError: as `read_document` does.
    """
    found = _read(path, max_bytes, is_single=False)
    return [document for document in found if document is not None]


def _read(path: Path, max_bytes: int, *, is_single: bool) -> list[object]:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise DocumentError(f"{path}: more than {max_bytes} bytes")
        text = content.decode()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: {error}") from error
    try:
        document = json.loads(text, object_pairs_hook=_read_pairs)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from error
    except (ValueError, RecursionError):
        return _load_yaml(text, path, is_single=is_single)
    if _is_deeper(document, MAX_DEPTH):
        raise DocumentError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    return [document]


def _read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a mapping; refuses duplicate keys, as the last could widen what the first narrows."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DocumentError(f"duplicate key {_first_twice(keys)!r}")
    return found


def _first_twice(keys: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key[:60]
        seen.add(key)
    return None


def _is_deeper(document: object, levels: int) -> bool:
    level = [document]
    for _ in range(levels + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)


def stamp(path: Path) -> tuple[int, int]:
    """Return a stamp that changes with a file, or a folder's files; zeros if there is none."""
    try:
        stats = [path.stat(), *(item.stat() for item in (path.iterdir() if path.is_dir() else ()))]
    except OSError:
        return (0, 0)
    return max(item.st_mtime_ns for item in stats), sum(item.st_size for item in stats)


def _load_yaml(text: str, path: Path, *, is_single: bool) -> list[object]:
    # Imported here so that a proxy in a cluster, which gets its policy as JSON, does not load it.
    import yaml

    try:
        _check_events(yaml.parse(text))
        loader = yaml.SafeLoader(text)
        found: list[object] = []
        for node in [loader.get_single_node()] if is_single else _nodes(loader):
            _check_keys(node)
            found.append(None if node is None else loader.construct_document(node))
        return found
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        # The message must not quote the text, which may hold a secret; a tag's error does.
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        is_tag = isinstance(error, yaml.constructor.ConstructorError)
        problem = "unknown tag" if is_tag else error.problem
        raise DocumentError(f"{path}: not YAML: {problem}{where}") from None
    except yaml.reader.ReaderError as error:
        where = f"at character {error.position}"
        raise DocumentError(f"{path}: not YAML: {error.reason} {where}") from None
    except (
        yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
        ValueError,
    ):  # fmt: skip
        # PyYAML's own constructors raise these for invalid dates, numbers and tags.
        raise DocumentError(f"{path}: not YAML: a value is invalid for its type") from None


def _nodes(loader: Any) -> Iterator[Any]:
    while loader.check_node():
        yield loader.get_node()


def _check_keys(node: Any) -> None:
    """Refuse mappings with a duplicate key."""
    if node is None or not isinstance(node.value, list):
        return
    pairs = [item for item in node.value if isinstance(item, tuple)]
    keys = [key.value for key, _ in pairs if isinstance(key.value, str)]
    twice = _first_twice(keys)
    if twice is not None:
        line = node.start_mark.line + 1
        raise DocumentError(f"duplicate key {twice!r} in the mapping at line {line}")
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            _check_keys(child)


def _check_events(events: Iterable[object]) -> None:
    """Refuse what a few lines of YAML can inflate: copies by alias, and unlimited depth."""
    depth = 0
    for event in events:
        name = type(event).__name__
        if name == "AliasEvent":
            raise DocumentError("aliases (*name) are not supported; write the value out")
        if name.startswith(("Sequence", "Mapping")):
            depth += 1 if name.endswith("StartEvent") else -1
        if depth > MAX_DEPTH:
            raise DocumentError(f"not YAML: nested deeper than {MAX_DEPTH} levels")
