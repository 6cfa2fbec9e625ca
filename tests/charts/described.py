"""Descriptions of the chart's values: comments in values.yaml, the schema, README's table."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parent.parent.parent / "charts" / "livery"
_KEY = re.compile(r"^( *)([A-Za-z0-9_]+):")
_COMMENT = re.compile(r"^( *)# ?(.*)$")


class Field(NamedTuple):
    """One field of the schema, with its place in it."""

    path: str
    schema: dict[str, Any]


def comments_of(text: str) -> dict[str, str]:
    """Return the comment above each key of values.yaml, by the key's path."""
    found: dict[str, str] = {}
    path: list[str] = []
    pending: list[str] = []
    for line in text.splitlines():
        comment, key = _COMMENT.match(line), _KEY.match(line)
        if comment:
            pending.append(comment[2].strip())
        elif key:
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if pending:
                found[".".join(path)] = " ".join(pending)
            pending = []
        else:
            pending = []
    return found


def fields_of(schema: dict[str, Any], path: str = "") -> Iterator[Field]:
    """Yield every property of a schema; items of lists have `[]` in their path."""
    for name, inner in schema.get("properties", {}).items():
        own = f"{path}.{name}" if path else name
        yield Field(own, inner)
        yield from fields_of(inner, own)
    if isinstance(schema.get("items"), dict):
        yield from fields_of(schema["items"], f"{path}[]")


def read_schema() -> dict[str, Any]:
    """Return the chart's schema."""
    schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return schema


def write_schema(schema: Mapping[str, Any]) -> str:
    """Return the schema's text."""
    return json.dumps(schema, indent=1) + "\n"


def write_table(schema: dict[str, Any]) -> str:
    """Return README's table: each field without subfields, its default and its meaning."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = ["| value | default | |", "|---|---|---|"]
    for field in fields_of(schema):
        if field.schema.get("properties") and not _is_shown_whole(field, values):
            continue
        if "[]" in field.path:
            default = ""
        elif any(_is_shown_whole(Field(parent, {}), values) for parent in _parents(field.path)):
            continue
        else:
            found = _find(values, field.path)
            default = "" if found is _ABSENT else f"`{json.dumps(found, ensure_ascii=False)}`"
        text = str(field.schema["description"]).replace("|", "\\|")
        rows.append(f"| `{field.path}` | {default} | {text} |")
    return "\n".join(rows) + "\n"


_ABSENT = object()
_WHOLE = re.compile(r"(^|\.)(limits|default|service|serviceMonitor|podMonitor|prometheusRule"
                    r"|dashboard|resources|trustedHeader)$")  # fmt: skip


def _is_shown_whole(field: Field, values: Any) -> bool:
    """Return whether a mapping is one row: it is on one line of values.yaml."""
    return bool(_WHOLE.search(field.path)) and field.path != "gateway.limits" and (
        _find(values, field.path) is not _ABSENT
    )  # fmt: skip


def _parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])


def _find(values: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return _ABSENT
        values = values[name]
    return values
