"""Manifests of Kubernetes in YAML, read and written, with the place of every mistake."""

import re
from typing import Any, NamedTuple

import yaml

from injector.errors import ManifestError
from injector.files.documents import read_documents

MAX_FILE_BYTES = 16 << 20


class Manifest(NamedTuple):
    """One document, or one item of a List, and the line where it begins."""

    obj: dict[str, Any]
    source: str
    line: int


def read_manifests(text: str, source: str) -> list[Manifest]:
    """Read all documents of a file; empty ones are passed over, a List gives its items.

    Args:
        text: the file's text.
        source: its name, for errors.

    Raises:
        ManifestError: it is not YAML, too large, or a document is no object of Kubernetes.
    """
    if len(text) > MAX_FILE_BYTES:
        raise ManifestError(source, 0, f"more than {MAX_FILE_BYTES >> 20} MiB")
    manifests: list[Manifest] = []
    for obj, line in read_documents(text, source):
        if obj is None:
            continue
        if not isinstance(obj, dict):
            raise ManifestError(source, line, "a document is not a mapping")
        manifests += _flatten(obj, source, line)
    return manifests


def _flatten(obj: dict[str, Any], source: str, line: int) -> list[Manifest]:
    kind = obj.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ManifestError(source, line, "a document has no kind")
    if not kind.endswith("List") or "items" not in obj:
        return [Manifest(obj, source, line)]
    items = [] if obj["items"] is None else obj["items"]  # Kubernetes writes an empty list so
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ManifestError(source, line, "items of a List are no mappings")
    return [found for item in items for found in _flatten(item, source, line)]


class _Dumper(yaml.SafeDumper):
    """Writes what `KubernetesLoader` reads back equal."""


_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXoO_.:+-]*|[yYnN]")


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if "\n" in value and not re.search(r"[ \t]\n|^\s|\t", value):
        style = "|"
    elif _LOOKS_LIKE_A_NUMBER.fullmatch(value):
        style = "'"  # some reader would take `1e3`, `0o7` or `y` for something else than text
    if re.search("[\x85\u2028\u2029]", value):
        style = '"'  # line breaks to YAML 1.1, which other styles fold
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def write_manifests(objects: list[dict[str, Any]]) -> str:
    """Write objects as one YAML stream, in the order of their keys."""
    return "---\n".join(
        yaml.dump(obj, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for obj in objects
    )
