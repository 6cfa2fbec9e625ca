import logging

import pytest

from injector.control.access_log import AccessLog
from injector.model.cluster.state import World
from injector.platform import Platform


def _put(world: World, *metrics: str) -> None:
    metadata = {"name": "rules", "namespace": "shop"}
    world.put("MetricAccess", {"metadata": metadata, "spec": {"metrics": [*metrics]}})


def _make(caplog: pytest.LogCaptureFixture) -> tuple[World, AccessLog]:
    caplog.set_level(logging.INFO)
    world = World()
    return world, AccessLog(world, Platform(seed_compatible=True))


def test_a_state_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world, log = _make(caplog)
    _put(world, "a(")
    log.write()
    world.put("Namespace", {"metadata": {"name": "shop", "labels": {"a": "b"}}})
    log.write()

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_was_mended_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    world, log = _make(caplog)
    _put(world, "a(")
    log.write()
    _put(world, "a")
    log.write()

    assert caplog.records[-1].getMessage() == "a MetricAccess object is in force as written"


def test_what_is_well_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    world, log = _make(caplog)
    _put(world, "a")
    log.write()

    assert caplog.records == []


def test_settings_that_take_a_grant_away_are_said(caplog: pytest.LogCaptureFixture) -> None:
    world, log = _make(caplog)
    _put(world, "a")
    log.write()
    assert caplog.records == []
    log.use_platform(Platform())
    log.write()

    assert "is not granted by the platform" in str(caplog.records[0].__dict__["problems"])
