"""Alerts and dashboard: Prometheus parses them, and they query metrics that Livery has."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.metrics import all_metrics
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, promtool_program, running_prometheus

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "charts" / "livery" / "monitoring"
_NAME = re.compile(r"\b(?:livery|process|prometheus_proxy)_[a-z_]+")
_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _queries() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("command", ["check rules alerts.yaml", "test rules alerts_test.yaml"])
def test_promtool_accepts_the_alerts(command: str) -> None:
    program = have(promtool_program)
    ran = subprocess.run(
        [program, *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = (FOLDER / "alerts_test.yaml").read_text()
    for rule in _alerts():
        assert f'alertname="{rule["alert"]}"' in tested or f"{rule['alert']}, exp_alerts" in tested
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_alerts_and_dashboard_ask_only_for_metrics_that_exist() -> None:
    known = {metric.name for metric in all_metrics()}
    asked = {
        name
        for expression in [*_queries(), *(rule["expr"] for rule in _alerts())]
        for name in _NAME.findall(expression)
    }

    assert {name for name in asked if {name, _SUFFIX.sub("", name)}.isdisjoint(known)} == set()
    assert len(asked) > 10


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus without data that answers queries."""
    have(promtool_program)
    with running_prometheus("global: {}\n", tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.mark.parametrize("expression", _queries())
def test_prometheus_answers_every_query_of_the_dashboard(
    prometheus: Prometheus, expression: str
) -> None:
    prometheus.query(expression.replace("$__rate_interval", "5m"))
