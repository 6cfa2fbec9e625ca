import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.control import client, policy_file
from sidecar.control import source as source_module
from sidecar.control.reports import ProxyState
from sidecar.control.settings import ControlSettings
from sidecar.control.source import PolicySource, policy_families
from sidecar.errors import PolicyError, SettingsError
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy
from sidecar.process.metrics import Telemetry
from sidecar.roles.pod.policy import PodPolicyReceiver
from tests.sidecar.apps import until
from tests.sidecar.control_service import CA, ControlService, message

pytestmark = pytest.mark.anyio

_FAULT = "no policy yet"
_STATE = ProxyState("pod", [], [], 0)


def _parse(document: object) -> str:
    """Accept any text as a policy."""
    if not isinstance(document, str):
        raise PolicyError("not a text")
    return document


class _Applied(list[str]):
    """A source of policies from a file, and the policies that it applied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source: PolicySource[str] = PolicySource(self.append, _FAULT)
        self.source.use_file(path, _parse)

    def read(self, text: str) -> str:
        """Read new content; return the fault."""
        self.path.write_text(text)
        self.source.read()
        return self.source.fault

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        (follow,) = self.source.tasks(dict)
        task = asyncio.ensure_future(follow())
        yield
        task.cancel()


@pytest.fixture
def applied(tmp_path: Path) -> _Applied:
    return _Applied(tmp_path / "policy")


def _settings(port: int, token: Path = Path("token")) -> ControlSettings:
    url = f"https://control:{port}"
    return ControlSettings(url, "127.0.0.1", CA.certificate_pem, token, "pod")


def _values(of: PolicySource[str] | PolicySource[PodPolicy]) -> dict[str, str]:
    telemetry = Telemetry(policy_families("x"))
    of.observe(telemetry, "x")
    lines = telemetry.render().decode().splitlines()
    return dict(line.split(" ") for line in lines if not line.startswith("#"))


def test_nothing_is_served_before_the_first_policy(applied: _Applied) -> None:
    assert (applied.source.fault, applied) == (_FAULT, [])
    assert applied.read("blue") == ""
    assert applied == ["blue"]


def test_a_first_policy_that_cannot_be_used_is_the_fault(applied: _Applied) -> None:
    assert applied.read("[]") == f"the policy cannot be used: {applied.path}: not a text"
    assert applied.read("blue") == ""


def test_the_last_good_policy_stays_active_and_bad_ones_are_counted(applied: _Applied) -> None:
    assert [applied.read(text) for text in ("blue", "[]", "{}")] == ["", "", ""]
    assert applied == ["blue"]
    assert _values(applied.source)["x_policies_rejected_total"] == "2"


async def test_a_file_is_followed(applied: _Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_file, "POLL_SECONDS", 0.01)
    applied.read("blue")
    async with applied.followed():
        applied.path.write_text("green!")
        await until(lambda: applied == ["blue", "green!"])
        applied.path.unlink()
        await until(lambda: "1" in _values(applied.source)["x_policies_rejected_total"])

        assert applied.source.fault == ""


class _Stream:
    """A source of policies from a control service, and the teams in its policies."""

    def __init__(self, port: int, token: Path) -> None:
        self.teams: list[str] = []
        self.source: PolicySource[PodPolicy] = PolicySource(self._apply, _FAULT)
        receiver = PodPolicyReceiver(None, reads_access=True)
        self.source.connect(_settings(port, token), receiver)

    def _apply(self, policy: PodPolicy) -> None:
        self.teams.append(policy.series.labels["team"])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.ensure_future(run())
            for run in self.source.tasks(lambda: self.source.report(_STATE))
        ]
        yield
        for task in tasks:
            task.cancel()


@pytest.fixture
async def service() -> AsyncIterator[ControlService]:
    service = ControlService()
    async with service.app:
        yield service


@pytest.fixture
def stream(service: ControlService, tmp_path: Path) -> _Stream:
    (tmp_path / "token").write_text("token")
    return _Stream(service.app.port, tmp_path / "token")


async def test_policies_and_reports_use_the_control_service(
    service: ControlService, stream: _Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REPORT_DELAY_SECONDS", 0.01)
    service.greeting = message("policy", version="7", policy={"labels": {"team": "blue"}})
    async with stream.running():
        await until(lambda: stream.teams == ["blue"])
        await until(lambda: bool(service.report))

        assert stream.source.fault == ""
        assert (service.report["policyVersion"], service.report["role"]) == ("7", "pod")
        assert _values(stream.source)["x_control_connected"] == "1"


async def test_a_bad_policy_of_the_stream_is_counted(
    service: ControlService, stream: _Stream
) -> None:
    service.greeting = message("policy", version="7", policy=[])
    async with stream.running():
        await until(lambda: _values(stream.source)["x_policies_rejected_total"] == "1")

        assert (stream.teams, stream.source.fault) == ([], _FAULT)


async def test_a_file_takes_precedence_over_the_control_service(
    stream: _Stream, tmp_path: Path
) -> None:
    assert len(stream.source.tasks(dict)) == 2
    assert "x_control_connected" in _values(stream.source)
    stream.source.use_file(tmp_path / "policy", parse_pod_policy)

    assert len(stream.source.tasks(dict)) == 1
    # No stream is expected, so its state is not reported.
    assert "x_control_connected" not in _values(stream.source)


def test_without_file_and_control_service_nothing_runs() -> None:
    source: PolicySource[str] = PolicySource(lambda policy: None)
    source.read()
    source.changed()

    assert (source.tasks(dict), source.fault) == ([], "")
    assert "x_control_connected" not in _values(source)


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(source_module, "time", clock)
    return clock


def test_a_policy_is_as_old_as_the_last_one_that_was_applied(clock: _Clock, tmp_path: Path) -> None:
    applied, ages = _Applied(tmp_path / "policy"), []
    for clock.now, text in [(107.0, "blue"), (110.0, "[]"), (112.5, "green")]:
        ages.append(applied.source.age_seconds)
        applied.read(text)

    assert ages == [7.0, 3.0, 5.5]
    assert _values(applied.source)["x_policy_age_seconds"] == "0.0"


def test_silence_lasts_since_the_last_message_or_else_since_the_start(clock: _Clock) -> None:
    source: PolicySource[PodPolicy] = PolicySource(lambda policy: None)
    control = source.connect(_settings(1), PodPolicyReceiver(None, reads_access=True))
    clock.now = 110.0
    assert source.silence_seconds == 10.0
    control.confirmed_at = 104.0
    assert source.silence_seconds == 6.0


def test_a_policy_is_uncertain_since_it_was_last_known_to_be_the_present_one(
    clock: _Clock, tmp_path: Path
) -> None:
    source: PolicySource[PodPolicy] = PolicySource(lambda policy: None)
    assert source.uncertain_seconds == 0.0
    control = source.connect(_settings(1), PodPolicyReceiver(None, reads_access=True))
    clock.now = 110.0
    control.confirmed_at = 109.0
    assert source.uncertain_seconds == 10.0
    control.current_at = 104.0
    assert source.uncertain_seconds == 6.0
    source.use_file(tmp_path / "policy", lambda document: PodPolicy())
    assert source.uncertain_seconds == 0.0


@pytest.mark.parametrize(
    "settings",
    [_settings(1)._replace(url="http://control:1"), _settings(1)._replace(ca_bundle="hello")],
)
def test_a_control_service_that_cannot_be_used_is_an_error(settings: ControlSettings) -> None:
    source: PolicySource[PodPolicy] = PolicySource(lambda policy: None)

    with pytest.raises(SettingsError):
        source.connect(settings, PodPolicyReceiver(None, reads_access=True))
