import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.control import client as control
from sidecar.control.client import ControlClient
from sidecar.control.settings import ControlSettings
from sidecar.errors import SettingsError
from sidecar.model.policy.pod import PodPolicy
from sidecar.roles.pod.policy import PodPolicyReceiver
from tests.sidecar.apps import App, http, until
from tests.sidecar.certificates import authority, server_tls
from tests.sidecar.control_service import CA, ControlService, message

pytestmark = pytest.mark.anyio

_NOT_JSON = "the control service sent a line that is not a JSON object"
_OTHER_CA = authority("Other CA")


def _policy(team: str, version: str = "1") -> bytes:
    return message("policy", version=version, policy={"labels": {"team": team}})


class _Proxy:
    """A control client and the policies that it applied."""

    def __init__(self, service: App, token: Path, ca_bundle: str = CA.certificate_pem) -> None:
        self.applied: list[PodPolicy] = []
        url = f"https://control:{service.port}"
        settings = ControlSettings(url, "127.0.0.1", ca_bundle, token, "pod")
        receiver = PodPolicyReceiver(None, reads_access=True)
        self.client = ControlClient(settings, receiver, self._apply)
        self.faults: list[Exception] = []
        """Errors that applying the next policies raises."""

    def _apply(self, policy: PodPolicy) -> None:
        if self.faults:
            raise self.faults.pop()
        self.applied.append(policy)

    def teams(self) -> list[str]:
        return [policy.series.labels["team"] for policy in self.applied]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ControlClient[PodPolicy]]:
        task = asyncio.create_task(self.client.run())
        try:
            yield self.client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(control, "LAST_BACKOFF_SECONDS", 0.05)


@pytest.fixture
async def service() -> AsyncIterator[ControlService]:
    service = ControlService()
    async with service.app:
        yield service


async def test_a_snapshot_and_changes_come_into_force(service: ControlService, token: Path) -> None:
    service.greeting = _policy("blue", "1")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: proxy.teams() == ["blue"])
        service.say(_policy("green", "2"))
        await until(lambda: proxy.teams() == ["blue", "green"])

        assert (client.version, client.is_connected, client.failures) == ("2", True, 0)


async def test_the_request_says_role_version_and_token(
    service: ControlService, token: Path
) -> None:
    async with _Proxy(service.app, token).running():
        await until(lambda: bool(service.streams))

    first, *lines = service.app.requests[0].split("\r\n")
    assert first == "GET /v1/policy?role=pod&version= HTTP/1.1"
    assert "Authorization: Bearer first" in lines
    assert f"Host: control:{service.app.port}" in lines


async def test_a_message_may_come_in_pieces_and_several_at_once(
    service: ControlService, token: Path
) -> None:
    service.greeting = _policy("blue")[:20]
    proxy = _Proxy(service.app, token)
    async with proxy.running():
        await until(lambda: bool(service.streams))
        await asyncio.sleep(0.02)
        service.say(_policy("blue")[20:] + _policy("green") + _policy("red"))

        await until(lambda: proxy.teams() == ["blue", "green", "red"])


async def test_a_reconnection_names_the_version_and_takes_current(
    service: ControlService, token: Path
) -> None:
    service.greeting = _policy("blue", "v1")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: client.version == "v1")
        service.greeting = message("current", version="v1")
        service.streams[-1].close()
        await until(lambda: len(service.streams) == 2 and client.is_connected)

        assert service.versions() == ["", "v1"]
        assert proxy.teams() == ["blue"]


async def test_the_token_is_read_anew_for_each_connection(
    service: ControlService, token: Path
) -> None:
    async with _Proxy(service.app, token).running():
        await until(lambda: len(service.streams) == 1)
        token.write_text("second")
        service.streams[-1].close()
        await until(lambda: len(service.streams) == 2)

    assert "Authorization: Bearer second\r\n" in service.app.requests[-1]


async def test_pings_keep_a_stream_alive_and_silence_ends_it(
    service: ControlService, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "SILENCE_TIMEOUT_SECONDS", 0.3)
    service.greeting = message("ping")
    async with _Proxy(service.app, token).running() as client:
        await until(lambda: bool(service.streams))
        for _ in range(10):
            await asyncio.sleep(0.05)
            service.say(message("ping"))
        assert len(service.streams) == 1
        await until(lambda: len(service.streams) == 2)

        assert (client.failures, client.last_error) == (
            1,
            "the control service sent nothing in time",
        )


async def test_a_service_that_accepts_and_says_nothing_is_given_up(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONNECT_TIMEOUT_SECONDS", 0.1)

    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with (
        App(answer, tls=server_tls(CA, "control")) as app,
        _Proxy(app, token).running() as client,
    ):
        await until(lambda: client.failures >= 2)

        assert client.last_error == "the control service sent nothing in time"


@pytest.mark.parametrize("message", [b"hello\n", b"\xff\n", b"[" * 200_000 + b"\n", b"[]\n"])
async def test_a_malformed_line_ends_the_connection_but_not_the_policy(
    service: ControlService, token: Path, message: bytes
) -> None:
    service.greeting = _policy("blue", "1")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: client.version == "1")
        service.greeting = b""
        service.say(message)
        await until(lambda: len(service.streams) == 2)

        assert (client.failures, client.last_error) == (1, _NOT_JSON)
        assert (client.rejected, client.policy_error) == (1, _NOT_JSON)
        service.say(_policy("blue", "1"))
        await until(lambda: not client.policy_error)
    assert (proxy.teams(), service.versions()) == (["blue", "blue"], ["", ""])


@pytest.mark.parametrize(
    "policy",
    [
        {"schema": 99, "labels": {}}, None, [], {"schema": "x"},
    ],
)  # fmt: skip
async def test_a_policy_that_cannot_be_used_leaves_the_last_good_one(
    service: ControlService, token: Path, policy: object
) -> None:
    service.greeting = _policy("blue", "1")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: client.version == "1")
        service.say(message("policy", version="2", policy=policy))
        await until(lambda: client.rejected == 1)
        service.say(_policy("green", "3"))
        await until(lambda: client.version == "3")

        assert len(service.streams) == 1
    assert proxy.teams() == ["blue", "green"]


@pytest.mark.parametrize("version", ["\ud800", 5, "x" * 100_000, None])
async def test_a_version_that_cannot_be_sent_back_asks_for_the_whole(
    service: ControlService, token: Path, version: object
) -> None:
    service.greeting = message("policy", version=version, policy={"labels": {"team": "blue"}})
    proxy = _Proxy(service.app, token)
    async with proxy.running():
        await until(lambda: proxy.teams() == ["blue"])
        service.streams[-1].close()
        await until(lambda: proxy.teams() == ["blue", "blue"])

    assert service.versions() == ["", ""]


async def test_a_policy_that_could_not_be_applied_comes_whole_again(
    service: ControlService, token: Path
) -> None:
    service.greeting = _policy("blue", "1")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: client.version == "1")
    proxy.faults.append(RuntimeError("a fault of the proxy's own"))
    service.greeting = _policy("green", "2")
    with pytest.raises(RuntimeError):
        await proxy.client.run()
    async with proxy.running() as client:
        await until(lambda: client.version == "2")

    assert proxy.teams() == ["blue", "green"]
    assert service.versions() == ["", "1", ""]


async def test_messages_of_a_newer_service_are_passed_over(
    service: ControlService, token: Path
) -> None:
    service.greeting = message("news", text="x") + b"{}\n" + _policy("blue")
    proxy = _Proxy(service.app, token)
    async with proxy.running() as client:
        await until(lambda: proxy.teams() == ["blue"])

        assert (client.failures, client.rejected) == (0, 0)


async def test_a_line_without_end_is_bounded(
    service: ControlService, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_POLICY_BYTES", 1 << 20)
    service.greeting = b" " * (3 << 20)
    async with _Proxy(service.app, token).running() as client:
        await until(lambda: client.failures >= 1)

        assert client.last_error == "a message is larger than 1048576 bytes"


@pytest.mark.parametrize(
    ("ca_bundle", "names", "reason"),
    [
        (_OTHER_CA.certificate_pem, ("control",), "certificate verify failed"),
        (CA.certificate_pem, ("elsewhere",), "Hostname mismatch"),
        (CA.certificate_pem, ("127.0.0.1",), "mismatch"),
    ],
)
async def test_a_service_that_proves_nothing_is_told_nothing(
    token: Path, ca_bundle: str, names: tuple[str, ...], reason: str
) -> None:
    service = ControlService(names=names)
    async with service.app, _Proxy(service.app, token, ca_bundle).running() as client:
        await until(lambda: client.failures >= 2)

        assert reason in client.last_error
    assert not service.app.requests


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "302 Found"])
async def test_a_refusal_is_told_with_its_words_and_tried_again(token: Path, status: str) -> None:
    answer = http(b"no pod facts\n" + b"x" * 5_000, status=status)
    async with (
        App(answer, tls=server_tls(CA, "control")) as app,
        _Proxy(app, token).running() as client,
    ):
        await until(lambda: client.failures >= 3)

        prefix = f"the control service answered {status[:3]}: no pod facts"
        assert client.last_error.startswith(prefix)
        assert len(client.last_error) < 300


@pytest.mark.parametrize("content", [None, b"", b"two words", b"line\nfeed", b"\xff", b"\x01"])
async def test_a_token_that_is_none_never_reaches_the_wire(
    service: ControlService, token: Path, content: bytes | None
) -> None:
    token.unlink()
    if content is not None:
        token.write_bytes(content)
    async with _Proxy(service.app, token).running() as client:
        await until(lambda: client.failures >= 2)

        assert str(token) in client.last_error
    assert not service.app.requests


async def test_a_policy_is_the_present_one_as_long_as_the_service_says_so(token: Path) -> None:
    service = ControlService()
    service.greeting = _policy("blue")
    async with service.app, _Proxy(service.app, token).running() as client:
        await until(lambda: client.current_at is not None)
        for words, is_present in [
            (message("ping"), True),
            (message("policy", version="2", policy=7), False),
            (message("ping"), False),
            (message("current", version="1"), True),
            (message("ping"), True),
            (_policy("green", "3"), True),
        ]:
            heard, known = client.confirmed_at, client.current_at
            service.say(words)
            while client.confirmed_at == heard:
                await asyncio.sleep(0.01)
            assert (client.current_at == client.confirmed_at) is is_present
            assert (client.current_at == known) is not is_present


async def test_new_authorities_count_at_the_next_connection(token: Path) -> None:
    service = ControlService()
    service.greeting = message("authorities", pem=_OTHER_CA.certificate_pem)
    async with service.app, _Proxy(service.app, token).running() as client:
        await until(lambda: client.confirmed_at is not None)
        service.streams[-1].close()
        await until(lambda: client.failures >= 1)

        assert "certificate verify failed" in client.last_error


@pytest.mark.parametrize("pem", ["", "no PEM", 7, None])
async def test_authorities_that_are_none_leave_the_present_ones(
    service: ControlService, token: Path, pem: object
) -> None:
    service.greeting = message("authorities", pem=pem)
    async with _Proxy(service.app, token).running() as client:
        await until(lambda: client.confirmed_at is not None)
        service.streams[-1].close()
        await until(lambda: len(service.streams) == 2)

        assert client.failures <= 1


async def test_the_backoff_grows_to_its_bound_with_jitter_and_starts_over(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def smallest(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    monkeypatch.setattr("sidecar.control.client.random.uniform", smallest)
    async with App(b"", tls=server_tls(CA, "other")) as app, _Proxy(app, token).running():
        await until(lambda: len(asked) >= 5)
        monkeypatch.setattr(control, "STABLE_SECONDS", 0.0)
        grown = len(asked)
        await until(lambda: len(asked) >= grown + 3)

    assert [high for _, high in asked[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert all(low == high / 2 for low, high in asked)
    assert asked[-1][1] == 0.01


async def test_what_changes_together_is_one_report(
    service: ControlService, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REPORT_DELAY_SECONDS", 0.01)
    client = _Proxy(service.app, token).client
    task = asyncio.create_task(client.run_reports(lambda: {"role": "pod"}))
    await asyncio.sleep(0)
    assert not service.app.requests
    for _ in range(20):
        client.changed()
    await until(lambda: len(service.reports) == 1)
    client.changed()  # within the interval: this report is delayed
    await asyncio.sleep(0)
    task.cancel()

    assert len(service.reports) == 1
    assert "Content-Type: application/json\r\n" in service.app.requests[0]


async def test_a_change_after_a_report_is_reported_after_the_interval(
    service: ControlService, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REPORT_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(control, "REPORT_INTERVAL_SECONDS", 0.01)
    client = _Proxy(service.app, token).client
    task = asyncio.create_task(client.run_reports(lambda: {"role": "pod"}))
    for count in (1, 2, 3):
        client.changed()
        await until(lambda count=count: len(service.reports) == count)  # type: ignore[misc]
    task.cancel()


async def test_a_report_that_failed_is_sent_later(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REPORT_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(control, "REPORT_INTERVAL_SECONDS", 0.01)
    async with App(http(b"", status="503 No"), tls=server_tls(CA, "control")) as app:
        client = _Proxy(app, token).client
        task = asyncio.create_task(client.run_reports(dict))
        client.changed()
        await until(lambda: len(app.requests) >= 2)
        app.answer = http(b"", status="204 No Content")
        done = len(app.requests)
        await until(lambda: len(app.requests) > done)
        task.cancel()


@pytest.mark.parametrize(
    "url", ["", "http://c", "https://", "c:8444", "https://c:99999", "https://[::1", "https://c:x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    settings = ControlSettings(url, "", CA.certificate_pem, Path("token"), "pod")

    with pytest.raises(SettingsError, match=r"is not https://host:port$"):
        _client(settings)


def test_authorities_that_are_none_are_refused() -> None:
    settings = ControlSettings("https://c", "", "no PEM", Path("token"), "pod")

    with pytest.raises(SettingsError, match="CA is not PEM"):
        _client(settings)


def _client(settings: ControlSettings) -> ControlClient[PodPolicy]:
    return ControlClient(settings, PodPolicyReceiver(None, reads_access=True), lambda _: None)


async def test_a_service_whose_address_is_another_now_is_found_by_its_name(token: Path) -> None:
    service = ControlService(names=("localhost",))
    service.greeting = _policy("blue", "1")
    async with service.app:
        url = f"https://localhost:{service.app.port}"
        proxy = _Proxy(service.app, token)
        settings = ControlSettings(url, "127.0.0.9", CA.certificate_pem, token, "pod")
        receiver = PodPolicyReceiver(None, reads_access=True)
        proxy.client = ControlClient(settings, receiver, proxy._apply)
        async with proxy.running() as client:
            await until(lambda: proxy.teams() == ["blue"])
            assert client.failures == 0
