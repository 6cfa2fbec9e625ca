"""Edits manifests in place and preserves comments, quotes and the order of keys.

The only module that uses ruamel.yaml. Its output is not trusted: it is parsed again, and if the
result is not what was intended, the file is rewritten from its objects.
"""

import json
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple, TypeVar

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    LiteralScalarString,
    SingleQuotedScalarString,
)

from injector.errors import ManifestError
from injector.files.documents import BoundedLoader, read_documents
from injector.files.manifests import ManifestFile, Place, is_ambiguous, is_block, write_manifests

MAX_EDITED_BYTES = 1 << 20
"""A larger file is rewritten from its objects: parsing comments takes one second per 100 KiB."""
_Tree = TypeVar("_Tree", CommentedMap, CommentedSeq)
_MARKER = re.compile(r"^---(?=\s|$)", re.M)
"""Begins a document, wherever it is at the start of a line."""
_NULLS = ("", "~", "null", "Null", "NULL")
_INDENTED_LIST = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*\1 +- ", re.M)
_LIST = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*\1- ", re.M)


class Edited(NamedTuple):
    """A file's text after editing."""

    text: str
    is_anew: bool
    """Whether it was rewritten from its objects and may have lost comments."""


def edit(file: ManifestFile, changed: Mapping[Place, dict[str, Any]]) -> Edited:
    """Return a file's text with some of its objects replaced.

    Args:
        file: the file as it was read.
        changed: the new objects, by their place in the file.
    """
    if not changed:
        return Edited(file.text, is_anew=False)
    if "\r\n" not in file.text:
        return _edit(file, changed)
    edited = _edit(file._replace(text=file.text.replace("\r\n", "\n")), changed)
    return edited._replace(text=edited.text.replace("\n", "\r\n"))


def _edit(file: ManifestFile, changed: Mapping[Place, dict[str, Any]]) -> Edited:
    documents = [_replaced(document, (at,), changed) for at, document in enumerate(file.documents)]
    if _is_json(file.text):
        return Edited(json.dumps(documents[0], indent=2, ensure_ascii=False) + "\n", is_anew=False)
    pieces = _divide(file)
    if pieces is None:
        return Edited(write_manifests(documents), is_anew=True)
    texts, is_anew, at = [], False, 0
    for piece, before in pieces:
        after = documents[at : at + len(before)]
        at += len(before)
        edited = (
            Edited(piece, is_anew=False) if before == after else _edit_piece(piece, before, after)
        )
        texts.append(edited.text)
        is_anew = is_anew or edited.is_anew
    return Edited("".join(texts), is_anew=is_anew)


def _is_json(text: str) -> bool:
    try:
        return text.lstrip().startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _divide(file: ManifestFile) -> list[tuple[str, list[Any]]] | None:
    """Divide a file before each `---`, with the documents of each piece; None if that fails."""
    starts = [0, *(found.start() for found in _MARKER.finditer(file.text) if found.start())]
    ends = [*starts[1:], len(file.text)]
    pieces = []
    for start, end in zip(starts, ends, strict=True):
        text = file.text[start:end]
        try:
            found = [document for document, _ in read_documents(text, "")]
        except ManifestError:
            return None
        pieces.append((text, [document for document in found if document is not None]))
    whole = [document for _, documents in pieces for document in documents]
    return pieces if whole == file.documents else None


def _edit_piece(text: str, before: Sequence[Any], after: Sequence[Any]) -> Edited:
    edited = None if _is_beyond_editing(text) else _rewrite(text, before, after)
    if edited is not None and _reads_as(edited, after):
        return Edited(edited, is_anew=False)
    marker = "---\n" if text.startswith("---") else ""
    return Edited(marker + write_manifests(list(after)), is_anew=True)


def _replaced(value: Any, place: Place, changed: Mapping[Place, dict[str, Any]]) -> Any:
    if place in changed:
        return changed[place]
    if not any(other[: len(place)] == place for other in changed):
        return value
    items = value["items"]
    return {**value, "items": [_replaced(item, (*place, at), changed) for at, item in
                               enumerate(items)]}  # fmt: skip


def _is_beyond_editing(text: str) -> bool:
    """Return whether a text is too large to edit, or uses aliases."""
    if len(text) > MAX_EDITED_BYTES:
        return True
    return "&" in text and any(
        isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=BoundedLoader)
    )


def _reads_as(text: str, documents: Sequence[Any]) -> bool:
    try:
        found = [document for document, _ in read_documents(text, "")]
    except ManifestError:
        return False
    return [document for document in found if document is not None] == documents


def _rewrite(text: str, before: Sequence[Any], after: Sequence[Any]) -> str | None:
    editor = _editor(text)
    written = StringIO()
    try:
        trees = [tree for tree in editor.load_all(text) if tree is not None]
        blended = [
            _blend(tree, was, value) for tree, was, value in zip(trees, before, after, strict=True)
        ]
        editor.dump_all(blended, written)
    except Exception:
        return None  # whatever the library fails on is rewritten from its objects
    return written.getvalue()


class _TextResolver(VersionedResolver):
    """Resolves every scalar to its text as written: its type does not matter here."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        is_text = kind is ScalarNode and value not in _NULLS
        return super().resolve(kind, value, (False, True) if is_text else implicit)


def _editor(text: str) -> YAML:
    editor = YAML(typ="rt", pure=True)
    editor.Resolver = _TextResolver
    editor.preserve_quotes = True
    editor.brace_single_entry_mapping_in_flow_sequence = True
    editor.width = 1 << 20
    editor.explicit_start = text.startswith("---")
    if len(_INDENTED_LIST.findall(text)) > len(_LIST.findall(text)):
        editor.indent(mapping=2, sequence=4, offset=2)
    return editor


def _blend(tree: Any, before: Any, after: Any) -> Any:
    """Change a tree from one value to another; leave equal parts untouched."""
    if isinstance(before, dict) and isinstance(after, dict) and isinstance(tree, CommentedMap):
        for key in before.keys() - after.keys():
            del tree[key]
        for key, value in after.items():
            if key not in before:
                tree[key] = _written(value)
            elif before[key] != value:
                tree[key] = _blend(tree[key], before[key], value)
        return _unfolded(tree, [value for key, value in after.items() if before.get(key) != value])
    if isinstance(before, list) and isinstance(after, list) and isinstance(tree, CommentedSeq):
        return _blend_list(tree, before, after)
    if isinstance(tree, DoubleQuotedScalarString) and isinstance(after, str):
        return DoubleQuotedScalarString(after)
    return _written(after)


def _blend_list(tree: CommentedSeq, before: list[Any], after: list[Any]) -> CommentedSeq:
    start, end = 0, 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for at, (was, value) in enumerate(zip(old, new, strict=False), start):
        tree[at] = _blend(tree[at], was, value)
    for at in reversed(range(start + len(new), start + len(old))):
        del tree[at]
    for at, value in enumerate(new[len(old) :], start + len(old)):
        tree.insert(at, _written(value))
    return _unfolded(tree, new)


def _unfolded(tree: _Tree, values: Sequence[Any]) -> _Tree:
    """Use block style for a collection if a new nested value would make its line very long."""
    if any(isinstance(value, dict | list) for value in values):
        tree.fa.set_block_style()
    return tree


def _written(value: Any) -> Any:
    """Convert a value to the editor's types, in the style of `write_manifests`."""
    if isinstance(value, dict):
        return CommentedMap({key: _written(item) for key, item in value.items()})
    if isinstance(value, list):
        return CommentedSeq([_written(item) for item in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or not isinstance(value, str):
        return None if value is None else str(value)
    if is_block(value):
        return LiteralScalarString(value)
    return SingleQuotedScalarString(value) if is_ambiguous(value) else value
