"""Databases with all series or one tenant's: a rewritten query must not reveal which."""

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sidecar.model.access.rules import AccessRule, parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.branches import View
from tests.real_parts.prometheus import Prometheus, promtool_program, running_prometheus

STEP_SECONDS = 15
SAMPLES = 120
FEATURES = (
    "--enable-feature=promql-experimental-functions,promql-duration-expr,"
    "promql-extended-range-selectors,promql-binop-fill-modifiers"
)
Labels = dict[str, str]
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _rule(*patterns: str, namespaces: Sequence[str] | str, **selected: str) -> dict[str, Any]:
    chosen = namespaces if isinstance(namespaces, str) else list(namespaces)
    return {
        "name": f"{patterns[0]} {selected}",
        "patterns": list(patterns),
        "labelSelectors": selected,
        "namespaces": chosen,
    }


RULES: Mapping[str, Sequence[dict[str, Any]]] = {
    "names": [_rule("up", "http_requests_total", "queue_.*", namespaces=["shop"])],
    "labels": [
        _rule("up", namespaces=["shop"]),
        _rule("{job='db'}", namespaces=["shop"], tier="one"),
        _rule("http_requests_total{tier!='one'}", "queue_depth", namespaces=["shop", "bank"]),
    ],
    "granted": [
        _rule("queue_depth{job=~'d.'}", namespaces="*"),
        _rule("{__name__=~'up|http.*',job!='web'}", namespaces=["bank"]),
        _rule("up{tier='two'}", namespaces=["bank"]),
    ],
    "everything": [_rule("{}", namespaces=["bank"])],
    "nothing": [],
}
"""Access rules by tenant."""


@dataclass(frozen=True)
class Tenant:
    """A tenant's rules, and a Prometheus with only the series that they allow."""

    name: str
    view: View
    alone: Prometheus


@dataclass(frozen=True, repr=False)
class World:
    """A Prometheus with all series, and one for each tenant."""

    whole: Prometheus
    tenants: Sequence[Tenant]
    now: int
    """The time of the last samples."""


def all_series() -> list[Labels]:
    """Return the series of the whole database; some have no namespace."""
    found: list[Labels] = []
    for name, namespace, job, tier in product(
        ("up", "http_requests_total", "queue_depth", "queue_lag", "secret"),
        ("shop", "bank", ""),
        ("web", "db"),
        ("one", "two", ""),
    ):
        labels = {"__name__": name, "namespace": namespace, "job": job, "tier": tier}
        found.append({key: text for key, text in labels.items() if text})
    return found


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """Fill the databases and run them."""
    now = int(time.time()) // STEP_SECONDS * STEP_SECONDS - 60
    with ExitStack() as stack:
        whole = stack.enter_context(_database(folder / "whole", all_series(), now))
        tenants = []
        for name, written in RULES.items():
            rules = parse_access_rules(list(written), "rules")
            seen = [labels for labels in all_series() if _is_seen(labels, rules)]
            alone = stack.enter_context(_database(folder / name, seen, now))
            tenants.append(Tenant(name, view_of(rules), alone))
        yield World(whole, tenants, now)


def _is_seen(labels: Labels, rules: Sequence[AccessRule]) -> bool:
    return any(rule.matches(labels) for rule in rules)


@contextmanager
def _database(folder: Path, series: Sequence[Labels], now: int) -> Iterator[Prometheus]:
    folder.mkdir(parents=True)
    text = folder / "samples.om"
    text.write_text("".join(_lines(series, now)) + "# EOF\n")
    if series:
        command = [str(promtool_program()), "tsdb", "create-blocks-from", "openmetrics"]
        subprocess.run([*command, str(text), str(folder / "data")], check=True, capture_output=True)
    with running_prometheus("", folder, flags=[FEATURES]) as running:
        yield running


def _lines(series: Sequence[Labels], now: int) -> Iterator[str]:
    everything = all_series()
    for labels in series:
        seed = everything.index(labels) + 1
        shown = ",".join(f'{key}="{text}"' for key, text in labels.items() if key != "__name__")
        for at in range(SAMPLES):
            stamp = now - (SAMPLES - 1 - at) * STEP_SECONDS
            # No two series have the same value; some stop early, some have a reset.
            value = seed * 1.37 + at * (seed % 7) if at % 50 else seed * 0.5
            if seed % 11 or at < SAMPLES // 2:
                yield f"{labels['__name__']}{{{shown}}} {value} {stamp}\n"


def ask(server: Prometheus, path: str, parameters: Sequence[tuple[str, str]]) -> tuple[int, Any]:
    """Return the status of an API call, and its data in a fixed order or its error."""
    url = f"{server.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with _opener.open(url, timeout=30) as response:
            return 200, in_order(json.loads(response.read())["data"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]


def in_order(data: Any) -> Any:
    """Return the data of an answer in a fixed order."""
    if isinstance(data, list):
        return sorted(data, key=json.dumps)
    if isinstance(data, dict) and data["resultType"] in ("vector", "matrix"):
        return sorted(data["result"], key=lambda item: json.dumps(item["metric"], sort_keys=True))
    return data


def is_alike(one: Any, other: Any) -> bool:
    """Compare answers; numbers may differ in their last digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_alike, one, other))
    if one == other:
        return True
    try:
        left, right = float(one), float(other)
    except (TypeError, ValueError):
        return False
    return math.isclose(left, right, rel_tol=1e-9) or (math.isnan(left) and math.isnan(right))
