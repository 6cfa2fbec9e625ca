"""Documents in files, YAML or JSON, of bounded size and depth."""

import json
from collections.abc import Iterable
from pathlib import Path

from sidecar.errors import DocumentError

MAX_DEPTH = 50


def read_document(path: Path, max_bytes: int) -> object:
    """Read a file.

    Raises:
        DocumentError: it cannot be read, is too large, or is neither YAML nor JSON; names it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise DocumentError(f"{path}: more than {max_bytes} bytes")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: {error}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _load_yaml(text, path)
    if _is_deeper(document, MAX_DEPTH):
        raise DocumentError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    return document


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
    """Return what changes when a file does; zeros where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return stat.st_mtime_ns, stat.st_size


def _load_yaml(text: str, path: Path) -> object:
    # Imported only here: a proxy in a cluster gets its policy as JSON and does not pay for it.
    import yaml

    try:
        _check_events(yaml.parse(text))
        return yaml.safe_load(text)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        # Without the text itself, which may hold a secret; a tag's error quotes it.
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        is_tag = isinstance(error, yaml.constructor.ConstructorError)
        problem = "a tag that is not known" if is_tag else error.problem
        raise DocumentError(f"{path}: not YAML: {problem}{where}") from None
    except yaml.reader.ReaderError as error:
        where = f"at character {error.position}"
        raise DocumentError(f"{path}: not YAML: {error.reason} {where}") from None
    except (
        yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
        ValueError,
    ):  # fmt: skip
        # What PyYAML's own constructors raise of dates, numbers and tags that are none.
        raise DocumentError(f"{path}: not YAML: a value is not of its kind") from None


def _check_events(events: Iterable[object]) -> None:
    """Refuse what a few lines of YAML can blow up: copies by alias, depth without end."""
    depth = 0
    for event in events:
        name = type(event).__name__
        if name == "AliasEvent":
            raise DocumentError("aliases (*name) are not read here; write the value out")
        if name.startswith(("Sequence", "Mapping")):
            depth += 1 if name.endswith("StartEvent") else -1
        if depth > MAX_DEPTH:
            raise DocumentError(f"not YAML: nested deeper than {MAX_DEPTH} levels")
