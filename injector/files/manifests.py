"""YAML manifests as Kubernetes reads them, with the place of every mistake.

Differences to plain YAML 1.1 that matter: a date stays text, a key given twice is an error, and
aliases may not multiply without bound.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from injector.errors import ManifestError

MAX_FILE_BYTES = 16 << 20
MAX_NODES = 500_000
"""Nodes of one file with its aliases written out: a few lines can otherwise stand for millions."""


class Manifest(NamedTuple):
    """One document, or one item of a List, and the line where it begins."""

    obj: dict[str, Any]
    source: str
    line: int


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Kubernetes' reading of YAML."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# No base-60 integers: `22:22` is a text to Kubernetes.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o?[0-7]+)$")
for _first, _resolvers in _Loader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = [
        (tag, _INT if tag == "tag:yaml.org,2002:int" else pattern) for tag, pattern in _resolvers
    ]


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


def read_documents(text: str, source: str) -> Iterator[tuple[Any, int]]:
    """Yield each document and its first line.

    Raises:
        ManifestError: it is not YAML, or holds more than a bounded number of nodes.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            _check(node, source)
            yield loader.construct_document(node), node.start_mark.line + 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ManifestError(source, line, error.problem or "not YAML") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(source, 0, f"not YAML: {error}") from error
    finally:
        loader.dispose()


def _flatten(obj: dict[str, Any], source: str, line: int) -> list[Manifest]:
    kind = obj.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ManifestError(source, line, "a document has no kind")
    if not kind.endswith("List") or "items" not in obj:
        return [Manifest(obj, source, line)]
    items = obj["items"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ManifestError(source, line, "items of a List are no mappings")
    return [found for item in items for found in _flatten(item, source, line)]


def _check(node: yaml.Node, source: str) -> None:
    """Refuse keys given twice, and more nodes than `MAX_NODES` with aliases written out."""
    sizes: dict[int, int] = {}

    def measure(node: yaml.Node, depth: int) -> int:
        if depth > 100:
            raise ManifestError(source, node.start_mark.line + 1, "nested too deep")
        known = sizes.get(id(node))
        if known is not None:
            return known
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, source)
            children = [child for pair in node.value for child in pair]
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else []
        size = 1 + sum(measure(child, depth + 1) for child in children)
        if size > MAX_NODES:
            raise ManifestError(source, node.start_mark.line + 1, f"more than {MAX_NODES} nodes")
        sizes[id(node)] = size
        return size

    measure(node, 0)


def _check_keys(node: yaml.MappingNode, source: str) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ManifestError(source, key.start_mark.line + 1, "a key is no text")
        if key.value in seen:
            raise ManifestError(
                source, key.start_mark.line + 1, f"key {key.value[:60]!r} is given twice"
            )
        seen.add(key.value)
        if key.tag != "tag:yaml.org,2002:merge":
            key.tag = "tag:yaml.org,2002:str"  # `80:` and `on:` are texts, as in JSON


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back equal."""


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value and not re.search(r"[ \t]\n|^\s|\t", value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def write_manifests(objects: list[dict[str, Any]]) -> str:
    """Write objects as one YAML stream, in the order of their keys."""
    return "---\n".join(
        yaml.dump(obj, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for obj in objects
    )
