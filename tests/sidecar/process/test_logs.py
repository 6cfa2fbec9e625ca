import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.process.logs import LEVELS, configure_logs


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _own_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set pytest's handlers aside: configuring logging replaces and closes all handlers."""
    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(root, "handlers", [])
    yield
    root.setLevel(level)


def _entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _fail(logger: logging.Logger) -> None:
    try:
        int("away")
    except ValueError:
        logger.exception("a task failed")


def test_an_entry_is_one_json_object_a_line_with_its_facts() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
    logging.getLogger("a.b").warning("one\ntwo", extra={"port": 80, "for": "metrics"})

    (entry,) = _entries(stream)
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning", "msg": "one\ntwo", "logger": "a.b", "port": 80, "for": "metrics",
    }  # fmt: skip


def test_the_time_is_that_of_the_record_in_utc_with_milliseconds() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
    record = logging.makeLogRecord({"created": 86399.007, "msecs": 7.0, "levelno": logging.INFO})
    logging.getLogger().handle(record)

    assert _entries(stream)[0]["time"] == "1970-01-01T23:59:59.007Z"


def test_an_exception_is_logged_with_its_trace_within_its_line() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
    _fail(logging.getLogger("a"))

    (entry,) = _entries(stream)
    assert (entry["level"], entry["msg"]) == ("error", "a task failed")
    assert entry["error"].startswith("Traceback")
    assert entry["error"].endswith("base 10: 'away'")


def test_a_fact_that_json_does_not_know_is_written_as_text() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
    logging.getLogger("a").info("x", extra={"file": Path("/p"), "half": "\ud800"})

    assert _entries(stream)[0]["file"] == "/p"


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_below_the_level_is_left_out(level: str) -> None:
    stream = io.StringIO()
    configure_logs(level, stream)
    for name in LEVELS:
        getattr(logging.getLogger("a"), name)("x")

    assert [entry["level"] for entry in _entries(stream)] == list(LEVELS[LEVELS.index(level) :])


def test_a_second_configuration_takes_the_place_of_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs("info", first)
    configure_logs("info", second)
    logging.getLogger("a").info("x")

    assert (first.getvalue(), len(_entries(second))) == ("", 1)


def test_on_a_terminal_an_entry_is_a_line_for_people() -> None:
    stream = _Terminal()
    configure_logs("info", stream)
    logging.getLogger("a").info("listening", extra={"port": 80, "for": "metrics"})
    _fail(logging.getLogger("a"))

    first, second, trace, *_ = stream.getvalue().splitlines()
    assert first.endswith(" info    listening  port=80 for=metrics")
    assert second.endswith(" error   a task failed")
    assert trace.startswith("Traceback")


def test_logs_go_to_stderr_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs("error")
    logging.getLogger("a").error("x")

    assert [entry["msg"] for entry in _entries(stream)] == ["x"]
