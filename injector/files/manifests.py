"""Reads and writes Kubernetes manifests in YAML; errors give the line."""

import re
from typing import Any, NamedTuple

import yaml

from injector.errors import ManifestError
from injector.files.documents import KubernetesLoader, read_documents

MAX_FILE_BYTES = 16 << 20


Place = tuple[int, ...]
"""An object's place in its file: index of the document, then of the item in each enclosing List."""


class Manifest(NamedTuple):
    """One document, or one item of a List, and the line where it begins."""

    obj: dict[str, Any]
    source: str
    line: int
    place: Place = (0,)


class ManifestFile(NamedTuple):
    """The text of a manifest file, and the objects in it."""

    text: str
    source: str
    documents: list[dict[str, Any]]
    """The documents that are not empty."""
    manifests: list[Manifest]


def read_manifests(text: str, source: str) -> list[Manifest]:
    """Read the objects of a file, as `read_manifest_file` does."""
    return read_manifest_file(text, source).manifests


def read_manifest_file(text: str, source: str) -> ManifestFile:
    """Read all documents of a file; skip empty ones, and replace a List by its items.

    Args:
        text: the file's text.
        source: its name, for errors.

    Raises:
        ManifestError: the file is not YAML or too large, or a document is no Kubernetes object.
    """
    if len(text) > MAX_FILE_BYTES:
        raise ManifestError(source, 0, f"more than {MAX_FILE_BYTES >> 20} MiB")
    file = ManifestFile(text, source, [], [])
    for obj, line in read_documents(text, source):
        if obj is None:
            continue
        if not isinstance(obj, dict):
            raise ManifestError(source, line, "a document is not a mapping")
        file.manifests.extend(_flatten(obj, source, line, (len(file.documents),)))
        file.documents.append(obj)
    return file


def _flatten(obj: dict[str, Any], source: str, line: int, place: Place) -> list[Manifest]:
    kind = obj.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ManifestError(source, line, "a document has no kind")
    if not kind.endswith("List") or "items" not in obj:
        return [Manifest(obj, source, line, place)]
    items = [] if obj["items"] is None else obj["items"]  # Kubernetes writes an empty list as null
    if not isinstance(items, list) or not all(isinstance(item, dict | None) for item in items):
        raise ManifestError(source, line, "items of a List must be mappings")
    return [
        found
        for at, item in enumerate(items)
        if item  # templates leave empty items, which kubectl skips
        for found in _flatten(_with_kind(item, obj), source, line, (*place, at))
    ]


def _with_kind(item: dict[str, Any], around: dict[str, Any]) -> dict[str, Any]:
    """Add the kind to an item of a list such as PodList: the API omits it."""
    kind = str(around["kind"]).removesuffix("List")
    if not kind or "kind" in item:
        return item
    return {"apiVersion": around.get("apiVersion", "v1"), "kind": kind, **item}


class _Dumper(yaml.SafeDumper):
    """Writes YAML that `KubernetesLoader` reads back as equal values."""


_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXoO_.:+-]*|[yYnN]")


def is_block(text: str) -> bool:
    """Return whether a text is written in literal block style."""
    return "\n" in text and not re.search(r"[ \t]\n|^\s|\t", text)


def is_ambiguous(text: str) -> bool:
    """Return whether a YAML parser may not read an unquoted text as text: `1e3`, `0o7`, `y`."""
    if _LOOKS_LIKE_A_NUMBER.fullmatch(text):
        return True
    return any(
        pattern.match(text)
        for resolvers in (KubernetesLoader, yaml.SafeLoader)
        for _, pattern in resolvers.yaml_implicit_resolvers.get(text[:1], ())
    )


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if is_block(value):
        style = "|"
    elif _LOOKS_LIKE_A_NUMBER.fullmatch(value):
        style = "'"
    if re.search("[\x85\u2028\u2029]", value):
        style = '"'  # line breaks in YAML 1.1, which other styles fold
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def write_manifests(objects: list[dict[str, Any]]) -> str:
    """Write objects as one YAML stream; the order of their keys stays."""
    return "---\n".join(
        yaml.dump(obj, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for obj in objects
    )
