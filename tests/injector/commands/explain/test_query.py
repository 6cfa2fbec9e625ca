import json
from pathlib import Path

import pytest

from tests.injector.conftest import Livery

_OBJECTS = """
kind: MetricAccess
metadata: {name: web, namespace: shop}
spec: {metrics: [up, "http_.*"], metricIsolation: true}
---
kind: MetricAccess
metadata: {name: db}
spec:
  metrics: ['{job="db"}', "("]
  labelSelectors: {tier: one}
  source: bank
  metricIsolation: true
"""


def _explain(livery: Livery, query: str, *arguments: str) -> list[str]:
    ran = livery("explain", "query", "-n", "shop", "-f", "-", *arguments, query, stdin=_OBJECTS)
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


def test_the_rewriting_is_shown_with_the_rules_that_it_comes_from(livery: Livery) -> None:
    assert _explain(livery, "sum(rate(up[5m])) / secret") == [
        "tenant shop",
        '  db: {job="db"} with tier=one in shop',
        "  not active: db: source: bank is not granted by the platform; isolation holds",
        "  not active: db: pattern '(': '(' is not a valid RE2 pattern: missing ): ^(?s:()$",
        "  web: up, http_.* in shop",
        "selector up  allowed by db, web",
        "selector secret  allowed by db",
        "asked    sum(rate(up[5m])) / secret",
        'sent     sum(rate(up{namespace=~"shop"}[5m])) / '
        'secret{namespace=~"shop",job=~"db",tier=~"one"}',
    ]


def test_what_the_platform_grants_counts(livery: Livery, tmp_path: Path) -> None:
    (tmp_path / "platform").write_text("access: {crossNamespace: {shop: [bank]}}")
    lines = _explain(livery, 'x{job="db"}', "--platform", str(tmp_path / "platform"))

    assert '  db: {job="db"} with tier=one in bank, shop' in lines
    assert lines[-1] == 'sent     x{namespace=~"bank|shop",tier=~"one",job="db"}'


def test_a_selector_of_which_nothing_is_seen_is_named(livery: Livery) -> None:
    lines = _explain(livery, 'secret{job="web"}')

    assert 'selector secret{job="web"}  allowed by no rule: it is empty' in lines


def test_two_tenants_see_what_each_sees(livery: Livery) -> None:
    lines = _explain(livery, 'up{job="web"}', "-n", "lab")

    assert "  sees nothing: there is no MetricAccess object in lab" in lines
    assert lines[-1] == 'sent     up{namespace=~"shop",job="web"}'


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("up)", "not PromQL: 1:3: parse error"),
        ("info(up)", "refused: info() reads series that the query does not name"),
    ],
)
def test_what_is_refused_is_said_with_what_to_change(livery: Livery, query: str, line: str) -> None:
    ran = livery("explain", "query", "-n", "shop", "-f", "-", query, stdin=_OBJECTS)

    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith(line)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["up"], "-n NAMESPACE (the tenant) is required"),
        (["-n", "shop", "--platform", "p", "up"], "--platform needs -f"),
        (["-n", "shop", "-f", "none", "up"], "none"),
    ],
)
def test_a_wrong_call_is_named(livery: Livery, arguments: list[str], reason: str) -> None:
    ran = livery("explain", "query", *arguments)

    assert ran.code == 2
    assert reason in ran.err


def test_a_malformed_object_is_named_with_its_line(livery: Livery) -> None:
    broken = json.dumps({"kind": "MetricAccess", "metadata": {"name": 7}})
    ran = livery("explain", "query", "-n", "shop", "-f", "-", "up", stdin=broken)

    assert ran.code == 1
    assert "standard input:1: metadata.name" in ran.err


def test_the_installation_names_the_label_of_a_namespace(livery: Livery, tmp_path: Path) -> None:
    settings = "gateway: {namespaceLabel: kubernetes_namespace, refuseUnseen: true}"
    (tmp_path / "platform").write_text(settings)
    lines = _explain(livery, "up", "--platform", str(tmp_path / "platform"))

    assert lines[-1].endswith('up{kubernetes_namespace=~"shop"}')
