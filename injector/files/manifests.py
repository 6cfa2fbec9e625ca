"""YAML manifests as Kubernetes reads them, with the place of every mistake.

Differences to PyYAML that matter: a date and `22:22` stay text, `y` is true, `1e3` a number; a key
given twice is an error, and aliases may not multiply without bound.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from injector.errors import ManifestError

MAX_FILE_BYTES = 16 << 20
MAX_NODES = 500_000
"""Nodes of one file with its aliases written out: a few lines can otherwise stand for millions."""
MAX_DEPTH = 100


class Manifest(NamedTuple):
    """One document, or one item of a List, and the line where it begins."""

    obj: dict[str, Any]
    source: str
    line: int


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Kubernetes' reading of YAML."""


# As the YAML library of Kubernetes' clients: no dates, no base 60, numbers need no point for an
# exponent, `y` and `n` are booleans, `=` is a text.
# Source: https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go
_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"[yY]|yes|Yes|YES|[nN]|no|No|NO|true|True|TRUE|false|False|FALSE"
     r"|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
     r"|\.(?:nan|NaN|NAN)", "-+.0123456789"),
):  # fmt: skip
    _starts = [*_first, ""] if _tag == "null" else list(_first)
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(rf"(?:{_pattern})\Z"), _starts)
_Loader.bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}
# What JSON has, and no more: `!!binary` or `!!timestamp` would put bytes and dates into objects.
_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if str(tag).rpartition(":")[2] not in ("binary", "timestamp", "omap", "pairs", "set")
}


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
        _check_depth(text, source)
        while loader.check_node():
            node = loader.get_node()
            _check(node, source)
            yield loader.construct_document(node), node.start_mark.line + 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ManifestError(source, line, error.problem or "not YAML") from error
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise ManifestError(source, line, f"not YAML: {error.reason}") from error
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
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


def _check_depth(text: str, source: str) -> None:
    """Refuse deep nesting before nodes are built: libyaml's builder recurses without a bound."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ManifestError(source, line, "nested too deep")


def _check(node: yaml.Node, source: str) -> None:
    """Refuse keys given twice, and more nodes than `MAX_NODES` with aliases written out."""
    sizes: dict[int, int] = {}

    def measure(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
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
