"""The demo itself runs in `test_gateway.py`."""

import asyncio
from pathlib import Path

import pytest
import yaml

from injector.commands.demo import forwarding as module
from injector.commands.demo.forwarding import by_hand, look_until_there
from injector.model.access.verdicts import judge_namespace
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.real_parts.ports import free_port
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program, running_prometheus


def test_the_object_sends_what_its_proxy_has_to_the_tenant_s_own() -> None:
    obj = yaml.safe_load(module._OBJECT.format(tenant="bank", url="http://127.0.0.1:9"))
    cluster = ClusterState()
    cluster.put("MetricAccess", obj)
    (verdict,) = judge_namespace(cluster, "bank", Platform())

    assert verdict.problems == ()
    assert verdict.forwarding.rule is not None
    assert verdict.forwarding.rule["receivers"][0]["path"] == "/api/v1/write"


def test_a_prometheus_without_series_or_none_at_all_has_nothing_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.5)
    assert asyncio.run(look_until_there(f"http://127.0.0.1:{free_port()}")) == []
    with running_prometheus("global: {}\n", tmp_path, have(prometheus_program)) as running:
        assert asyncio.run(look_until_there(running.url)) == []
        assert running.url in by_hand(running.url)
