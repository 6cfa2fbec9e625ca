"""Parses the metric metadata in a backend's response of `/api/v1/targets/metadata`."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sidecar.model.promql.branches import Budget, View
from sidecar.model.promql.targets import VisibleNames

MAX_TEXT = 500
"""Characters of a name, a type, a unit or a help text."""
MAX_LABELS = 100
MAX_DECISIONS = 500_000
"""Branches of a view that are evaluated for one response; about 100 ms."""
_SERIES_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "counter": (("",), ("_total",)),
    "histogram": (("",), ("_bucket", "_count", "_sum")),
    "gaugehistogram": (("",), ("_bucket", "_gcount", "_gsum")),
    "summary": (("_count", "_sum"),),
    "info": (("",), ("_info",)),
}
"""Suffixes of a metric's series, by type: a metric has all those of one of these groups."""
_skip_space = re.compile(r"\s*").match


class Kind(NamedTuple):
    """The metadata of a metric."""

    type: str
    unit: str
    help: str


class Item(NamedTuple):
    """One target's metadata of one metric."""

    target: Mapping[str, str]
    metric: str
    kind: Kind


def read_items(body: bytes, view: View, names: frozenset[str], metric: str) -> list[Item]:
    """Return the metadata of metrics that a tenant may see.

    Args:
        body: body of the response; it may be truncated.
        view: what the tenant may see.
        names: metric names of the tenant's series.
        metric: the requested metric, which the response then does not name; empty for all.

    Raises:
        QueryRefusedError: the view is too large for so many targets.
    """
    budget = Budget(MAX_DECISIONS)
    visible: dict[tuple[tuple[str, str], ...], VisibleNames] = {}
    found: list[Item] = []
    for said in _elements(body.decode(errors="replace")):
        target = said.get("target")
        if not isinstance(target, dict) or len(target) > MAX_LABELS:
            continue
        item = Item(
            {_text(name): _text(value) for name, value in target.items()},
            _text(said.get("metric")) or metric,
            Kind(_text(said.get("type")), _text(said.get("unit")), _text(said.get("help"))),
        )
        key = tuple(item.target.items())
        if key not in visible:
            visible[key] = VisibleNames(view, item.target, budget)
        if _is_seen(item, names, visible[key]):
            found.append(item)
    return found


def _elements(text: str) -> Iterator[Mapping[str, Any]]:
    """Parse the objects of a list one by one, so that other threads can run in between."""
    decoder, at = json.JSONDecoder(), text.find("[")
    while at >= 0 and text[at : at + 1] in ("[", ","):
        match = _skip_space(text, at + 1)
        try:
            item, at = decoder.raw_decode(text, match.end() if match else at + 1)
        except (ValueError, RecursionError):
            return
        if isinstance(item, dict):
            yield item


def _is_seen(item: Item, names: frozenset[str], visible: VisibleNames) -> bool:
    groups = _SERIES_OF.get(item.kind.type, (("",),))
    return any(
        all(f"{item.metric}{end}" in names and f"{item.metric}{end}" in visible for end in group)
        for group in groups
    )


def _text(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""
