"""Requests to a receiver: credentials, TLS, and what its responses mean."""

import asyncio
import ipaddress
import json
import ssl

import pytest

from sidecar.errors import UpstreamError
from sidecar.forward import receiver as module
from sidecar.forward.addresses import Reach
from sidecar.forward.receiver import Answer, Receiver, explain_failure
from sidecar.model.policy.forward import ReceiverAddress, TlsSettings
from sidecar.model.policy.secret import Credential
from tests.sidecar.apps import App, http
from tests.sidecar.certificates import authority, client_certificate, server_tls
from tests.sidecar.forward.names import RESOLVER

pytestmark = pytest.mark.anyio

_LOCAL = Reach(is_service=True, allowed=(ipaddress.ip_network("127.0.0.0/8"),))
_AUTHORITY = authority("Receivers")


def _receiver(port: int, secrets: dict[str, str] | None = None, **fields: object) -> Receiver:
    address = ReceiverAddress("127.0.0.1", port, "/write?tenant=a", **fields)  # type: ignore[arg-type]
    credentials = {name: Credential(text) for name, text in (secrets or {}).items()}
    return Receiver(address, credentials, _LOCAL, resolve=RESOLVER.resolve)


async def _head(secrets: dict[str, str] | None = None, **fields: object) -> str:
    async with App(http(b"taken", status="202 Accepted")) as app:
        receiver = _receiver(app.port, secrets, **fields)
        answer = await receiver.ask("POST", "", {"Content-Type": "x/y"}, b"")
        receiver.close()
    assert (answer.status, answer.is_success, answer.text) == (202, True, "taken")
    return app.requests[0]


async def test_a_name_and_password_are_shown() -> None:
    head = await _head({"s/pw": "geheim\n"}, username="shop", password="s/pw")

    assert "Authorization: Basic c2hvcDpnZWhlaW0=\r\n" in head
    assert head.startswith("POST /write?tenant=a HTTP/1.1\r\n")


async def test_a_token_is_shown() -> None:
    assert "Authorization: Bearer abc.def\r\n" in await _head(
        {"s/token": " abc.def\n"}, bearer_token="s/token"
    )


@pytest.mark.parametrize(
    "said", ["pw=geheim", "got Basic c2hvcDpnZWhlaW0=", "it is Z2VoZWlt, is it not?"]
)
async def test_a_receiver_that_repeats_a_credential_is_not_quoted(said: str) -> None:
    async with App(http(said.encode(), status="401 Unauthorized")) as app:
        receiver = _receiver(app.port, {"s/pw": "geheim\n"}, username="shop", password="s/pw")
        answer = await receiver.ask("POST", "", {}, b"")
        receiver.close()

    assert answer.status == 401
    assert "***" in answer.sentence
    assert not any(shown in answer.text for shown in ("geheim", "c2hvcDpnZWhlaW0", "Z2VoZWlt"))


@pytest.mark.parametrize(
    "said",
    [
        json.dumps({"password": "pa<ss&w\"ör'd/+ x"}),
        "pa&lt;ss&amp;w&#34;ör&#39;d/+ x",
        "pa&lt;ss&amp;w&quot;ör&#x27;d/+ x",
        "?pw=pa%3Css%26w%22%C3%B6r%27d%2F%2B%20x",
        "?pw=pa%3Css%26w%22%C3%B6r%27d%2F%2B+x",
    ],
)
async def test_nor_is_one_that_is_escaped(said: str) -> None:
    async with App(http(said.encode(), status="401 Unauthorized")) as app:
        secrets = {"s/pw": "pa<ss&w\"ör'd/+ x"}
        receiver = _receiver(app.port, secrets, username="shop", password="s/pw")
        answer = await receiver.ask("POST", "", {}, b"")
        receiver.close()

    assert "***" in answer.text
    assert "ss" not in answer.text.replace("password", "")


async def test_no_more_of_an_answer_is_read_than_is_shown() -> None:
    async with App(http(b"a" * 100_000, status="400 Bad Request")) as app:
        receiver = _receiver(app.port)
        answer = await receiver.ask("POST", "", {}, b"")
        receiver.close()

    assert len(answer.text) == module.MAX_ANSWER_BYTES


async def test_headers_of_the_object_are_sent() -> None:
    assert "X-Scope-OrgID: shop\r\n" in await _head(headers=(("X-Scope-OrgID", "shop"),))


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "tökén"])
async def test_a_token_that_no_header_may_have_is_refused_and_not_shown(token: str) -> None:
    receiver = _receiver(1, {"s/token": token}, bearer_token="s/token")

    assert "contains characters that a header may not" in receiver.fault
    assert token[:3] not in receiver.fault


async def test_a_credential_that_is_missing_is_named() -> None:
    receiver = _receiver(1, username="a", password="s/pw")

    assert receiver.fault == "missing keys of Secrets: s/pw"
    with pytest.raises(UpstreamError, match="missing keys of Secrets: s/pw"):
        await receiver.ask("POST", "", {}, b"")


def _ask_tls(app: App, secrets: dict[str, str], tls: TlsSettings) -> "asyncio.Task[Answer]":
    receiver = _receiver(app.port, secrets, tls=tls)
    return asyncio.create_task(receiver.ask("POST", "", {}, b""))


async def test_a_receiver_must_show_a_certificate_of_the_ca_and_for_its_name() -> None:
    async with App(http(b""), tls=server_tls(_AUTHORITY, "receiver.test")) as app:
        secrets = {"s/ca": _AUTHORITY.certificate_pem, "s/other": authority("x").certificate_pem}
        named = TlsSettings(ca="s/ca", server_name="receiver.test")
        assert (await _ask_tls(app, secrets, named)).is_success
        unverified = TlsSettings(skips_verification=True)
        assert (await _ask_tls(app, {}, unverified)).is_success
        for wrong in (
            named._replace(server_name=""),
            named._replace(ca="s/other"),
            named._replace(ca=""),
        ):
            with pytest.raises(UpstreamError, match="certificate"):
                await _ask_tls(app, secrets, wrong)


async def test_a_certificate_of_ones_own_is_shown() -> None:
    certificate, key = client_certificate("shop")
    server = server_tls(_AUTHORITY, "receiver.test")
    server.load_verify_locations(cadata=certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    secrets = {"s/ca": _AUTHORITY.certificate_pem, "s/crt": certificate, "s/key": key}
    tls = TlsSettings("s/ca", "s/crt", "s/key", "receiver.test")
    async with App(http(b""), tls=server) as app:
        assert (await _ask_tls(app, secrets, tls)).is_success


@pytest.mark.parametrize("text", ["no PEM", "ä"])
async def test_what_is_no_certificate_is_said_without_its_text(text: str) -> None:
    receiver = _receiver(1, {"s/ca": text}, tls=TlsSettings(ca="s/ca"))

    assert "tlsConfig cannot be used" in receiver.fault
    assert text not in receiver.fault


async def test_an_answer_is_read_to_a_bound() -> None:
    async with App(http(b"x" * 5_000_000, status="400 Bad Request")) as app:
        answer = await _receiver(app.port).ask("POST", "", {}, b"")

    assert len(answer.text) < 200_000
    assert len(answer.sentence) < 300


@pytest.mark.parametrize(
    "rest", [b"Transfer-Encoding: chunked\r\n\r\nzz", b"Content-Length: 9\r\n\r\n"]
)
async def test_the_status_decides_though_the_rest_is_damaged_or_never_comes(
    rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + rest)
        await asyncio.sleep(10)

    monkeypatch.setattr(module, "TEXT_SECONDS", 0.05)
    async with App(half) as app, asyncio.timeout(5):
        receiver = _receiver(app.port)
        answers = [await receiver.ask("POST", "", {}, b"") for _ in range(2)]

    assert [answer.is_success for answer in answers] == [True, True]
    assert app.connections == 2


async def test_an_answer_at_the_last_moment_is_one_though_its_text_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await asyncio.sleep(10)

    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(module, "TEXT_SECONDS", 0.3)
    async with App(late) as app:
        assert (await _receiver(app.port).ask("POST", "", {}, b"")).is_success


async def test_a_receiver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.05)
    async with App(hang) as app:
        with pytest.raises(TimeoutError) as caught:
            await _receiver(app.port).ask("POST", "", {}, b"")

    assert explain_failure(caught.value) == "no response within 0.05 s"


@pytest.mark.parametrize(
    ("status", "retries"), [(200, False), (400, False), (429, True), (500, True), (307, False)]
)
def test_what_may_be_retried(status: int, retries: bool) -> None:
    assert Answer(status, "", 0.0).may_be_retried is retries


def test_a_sentence_has_the_first_line_and_nothing_that_a_terminal_obeys() -> None:
    answer = Answer(400, "  \x1b[31mno\rway\nmore", 0.0)

    assert answer.sentence == "it answered 400:  [31mno way"
