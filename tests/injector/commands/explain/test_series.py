import json
from pathlib import Path

import pytest

from tests.injector.conftest import Livery

_SHOP = """\
kind: Namespace
metadata: {name: shop, labels: {team: frontend, cost-center: "4711"}}
---
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: shown, namespace: shop}
spec: {metricIsolation: true, metrics: [http_requests_total]}
"""
_PLATFORM = """\
labels: {protected: [team]}
exposition:
  metricRelabelings:
    - {regex: code, action: labeldrop}
    - {sourceLabels: [__name__], regex: "go_.*", action: drop}
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    path = tmp_path / "platform.yaml"
    path.write_text(_PLATFORM)
    return path


def test_each_step_says_which_label_it_put_there(livery: Livery, platform: Path) -> None:
    series = 'http_requests_total{code="200",team="mine"}'

    ran = livery(
        "explain", "series", series, "-n", "shop", "-f", "-", "--platform", platform, "--filter",
        stdin=_SHOP,
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        'http_requests_total{code="200",team="mine"}',
        "labels of the namespace are added:",
        '    ~ team="frontend"  was "mine"  from the namespace\'s label team',
        '    + exported_team="mine"',
        '    + cost_center="4711"  from the namespace\'s label cost-center',
        "relabelled by metricRelabelings[0] (labeldrop):",
        '    - code="200"',
        "relabelled by metricRelabelings[1] (drop): unchanged",
        "allowed by shown: unchanged",
        'exposed as http_requests_total{cost_center="4711",exported_team="mine",team="frontend"}',
    ]


@pytest.mark.parametrize(
    ("series", "last"),
    [
        ("go_threads", "dropped by metricRelabelings[1] (drop)"),
        ("up", "dropped: no MetricAccess object of the namespace allows it"),
        ("livery_up", "dropped: names that begin with livery_ are Livery's own"),
    ],
)
def test_the_step_that_drops_is_named(
    livery: Livery, platform: Path, series: str, last: str
) -> None:
    ran = livery(
        "explain", "series", series, "-n", "shop", "-f", "-", "--platform", platform, "--filter",
        stdin=_SHOP,
    )  # fmt: skip

    assert ran.code == 1
    assert ran.out.splitlines()[-1] == last


def test_a_rule_that_breaks_the_scrape_is_named(livery: Livery, tmp_path: Path) -> None:
    rules = tmp_path / "platform.yaml"
    rules.write_text("exposition: {metricRelabelings: [{regex: __name__, action: labeldrop}]}")

    ran = livery(
        "explain", "series", "up", "-n", "shop", "-f", "-", "--platform", rules, stdin=_SHOP
    )

    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("the scrape fails: ")


def test_a_namespace_that_does_not_exist_is_an_error(livery: Livery) -> None:
    ran = livery("explain", "series", "up", "-n", "nope", "-f", "-", stdin=_SHOP)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "livery: there is no namespace nope in the files\n"


def test_a_program_gets_a_document(livery: Livery) -> None:
    ran = livery("explain", "series", "up", "-n", "shop", "-f", "-", "-o", "json", stdin=_SHOP)

    facts = json.loads(ran.out)
    assert facts["exposed"] == 'up{cost_center="4711",team="frontend"}'
    assert facts["steps"][1]["changes"][0] == {
        "label": "cost_center",
        "before": None,
        "after": "4711",
        "fromNamespaceLabel": "cost-center",
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("up{",), "SERIES: "),
        (('{job="x"}',), "SERIES: must have a metric name"),
        (('up{job=~"x"}',), 'SERIES: write labels as name="value"'),
        (("up", "--pod", "web-0"), "--pod names a pod of the cluster"),
        (('up{a="\udcff"}',), "SERIES: a name or value is not UTF-8"),
        (('up{a="1",a="2"}',), "SERIES: a label is given twice"),
    ],
    ids=["malformed", "without-name", "selector", "pod-and-files", "not-utf-8", "twice"],
)
def test_a_wrong_call_is_one_sentence(
    livery: Livery, arguments: tuple[str, ...], reason: str
) -> None:
    ran = livery("explain", "series", *arguments, "-n", "shop", "-f", "-", stdin=_SHOP)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"livery: {reason}")


def test_a_label_that_the_application_set_itself_says_why_it_stays(livery: Livery) -> None:
    ran = livery("explain", "series", 'up{team="mine"}', "-n", "shop", "-f", "-", stdin=_SHOP)

    assert (
        '    = team="mine" stays: the application set it; labels.protected={team} would replace it '
        'with "frontend"'
    ) in ran.out.splitlines()
