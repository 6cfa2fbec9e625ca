"""Reads YAML documents with limits on size and depth; errors give the line."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from injector.errors import ManifestError

MAX_NODES = 500_000
"""Nodes of one document with aliases expanded: a few lines could otherwise expand to millions."""
MAX_DEPTH = 100


class BoundedLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Loads only JSON's types: `!!binary` and `!!timestamp` would produce bytes and dates."""

    yaml_constructors = {  # noqa: RUF012 - the library's own way
        tag: build
        for tag, build in yaml.SafeLoader.yaml_constructors.items()
        if str(tag).rpartition(":")[2] not in ("binary", "timestamp", "omap", "pairs", "set")
    }


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    value = int(yaml.SafeLoader.construct_yaml_int(loader, node))
    if not -(2**63) <= value < 2**64:
        # Python refuses to print very long integers.
        raise yaml.constructor.ConstructorError(None, None, "integer out of range", node.start_mark)
    return value


BoundedLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class TextLoader(BoundedLoader):
    """Loads scalars as strings: `regex: 1.10` and `regex: yes` are text, as in Prometheus."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [item for item in resolvers if item[0].endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class KubernetesLoader(BoundedLoader):
    """Loads scalars as Kubernetes does: dates and `22:22` are text, `y` is true, `1e3` a number."""


# As in the YAML library of Kubernetes clients: no dates, no base 60, an exponent needs no decimal
# point, `y` and `n` are booleans, `=` is a string.
# Source: https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go
_TAG = "tag:yaml.org,2002:"
KubernetesLoader.yaml_implicit_resolvers = {}
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
    KubernetesLoader.add_implicit_resolver(_TAG + _tag, re.compile(rf"(?:{_pattern})\Z"), _starts)
KubernetesLoader.bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


def read_documents(
    text: str, source: str, loader_class: type[BoundedLoader] = KubernetesLoader
) -> Iterator[tuple[Any, int]]:
    """Yield each document and the number of its first line.

    Raises:
        ManifestError: the text is not YAML, has duplicate keys, or exceeds a limit.
    """
    try:
        loader = loader_class(text)
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise ManifestError(source, 0, f"not YAML: {error}") from error
    try:
        _check_depth(text, source)
        while loader.check_node():
            node = loader.get_node()
            _check(node, source)
            document = loader.construct_document(node)
            yield _unshared(document) if "*" in text else document, node.start_mark.line + 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ManifestError(source, line, error.problem or "not YAML") from error
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise ManifestError(source, line, f"not YAML: {error.reason}") from error
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        raise ManifestError(source, 0, f"not YAML: {error}") from error
    finally:
        loader.dispose()


def _unshared(value: Any) -> Any:
    """Copy aliased values, so that a change in one place does not affect another."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    return value


_BRACKET = re.compile(r"[\[\]{}]")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def _check_depth(text: str, source: str) -> None:
    """Refuse deep nesting before nodes are built: libyaml's builder recurses without a limit.

    libyaml's parser has its own limit, which it hits up to 1,024 characters before it emits an
    event. So brackets are counted first: only a text with many open brackets, which may be inside
    strings, is parsed by the slow pure-Python parser, which has no limit.

    Raises:
        ManifestError: the text is nested too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=BoundedLoader if _is_flat(text) else yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ManifestError(source, line, "nested too deeply")


def _is_flat(text: str) -> bool:
    """Return whether no part of a text can be inside more than `MAX_DEPTH` brackets."""
    low = depth = 0
    for found in _BRACKET.finditer(text):
        depth += _STEPS[found[0]]
        low = min(low, depth)
        if depth - low > MAX_DEPTH:
            return False
    return True


def _check(node: yaml.Node, source: str) -> None:
    """Refuse duplicate keys, and more than `MAX_NODES` nodes with aliases expanded."""
    sizes: dict[int, int] = {}

    def measure(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ManifestError(source, node.start_mark.line + 1, "nested too deeply")
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
            raise ManifestError(source, key.start_mark.line + 1, "a key is not a scalar")
        if key.value in seen:
            raise ManifestError(
                source, key.start_mark.line + 1, f"duplicate key {key.value[:60]!r}"
            )
        seen.add(key.value)
        if key.tag != "tag:yaml.org,2002:merge":
            key.tag = "tag:yaml.org,2002:str"  # `80:` and `on:` are strings, as in JSON
