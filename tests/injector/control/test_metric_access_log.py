import logging

import pytest

from injector.control.metric_access_log import MetricAccessLog
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform


def _put(cluster: ClusterState, *metrics: str) -> None:
    metadata = {"name": "rules", "namespace": "shop"}
    cluster.put("MetricAccess", {"metadata": metadata, "spec": {"metrics": [*metrics]}})


def _make(caplog: pytest.LogCaptureFixture) -> tuple[ClusterState, MetricAccessLog]:
    caplog.set_level(logging.INFO)
    cluster = ClusterState()
    return cluster, MetricAccessLog(cluster, Platform(all_namespaces=True))


def test_a_state_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    cluster, log = _make(caplog)
    _put(cluster, "a(")
    log.write()
    cluster.put("Namespace", {"metadata": {"name": "shop", "labels": {"a": "b"}}})
    log.write()

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_was_mended_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    cluster, log = _make(caplog)
    _put(cluster, "a(")
    log.write()
    _put(cluster, "a")
    log.write()

    assert caplog.records[-1].getMessage() == "MetricAccess object is fully active"


def test_what_is_well_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    cluster, log = _make(caplog)
    _put(cluster, "a")
    log.write()

    assert caplog.records == []


def test_settings_that_take_a_grant_away_are_said(caplog: pytest.LogCaptureFixture) -> None:
    cluster, log = _make(caplog)
    _put(cluster, "a")
    log.write()
    assert caplog.records == []
    log.use_platform(Platform())
    log.write()

    assert "is not granted by the platform" in str(caplog.records[0].__dict__["problems"])
