"""The client against a real API server, and against ones that misbehave."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from kubernetes.client import Configuration

from injector.errors import KubeError
from injector.kube.api import client as module
from injector.kube.api.client import JsonObject, KubeClient
from tests.cluster.fixtures import Namespace
from tests.injector.kube.servers import event, misbehaving


def _watch(client: KubeClient) -> list[JsonObject]:
    with client.watch("/w", {}, accept="application/json", read_timeout_seconds=10) as events:
        return list(events)


def test_a_refusal_carries_the_api_servers_status_and_words(
    client: KubeClient, namespace: Namespace
) -> None:
    with pytest.raises(KubeError, match='pods "none" not found') as caught:
        client.request("GET", f"{namespace.path}/pods/none")
    assert caught.value.status == 404


@pytest.mark.parametrize("name", ["a?b=c", "a#b", "%61", "a%2F"])
def test_a_name_is_never_more_than_a_part_of_the_path(
    client: KubeClient, namespace: Namespace, name: str
) -> None:
    namespace.create("configmaps", "a")
    with pytest.raises(KubeError) as caught:
        client.request("GET", f"{namespace.path}/configmaps/{name}")
    assert caught.value.status in (400, 404)


def test_a_warning_of_the_api_server_is_given_in_its_own_words(
    client: KubeClient, namespace: Namespace
) -> None:
    warnings: list[str] = []
    spec = {
        "containers": [{"name": "a", "image": "a:1"}],
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
    }
    body = {"metadata": {"name": "a"}, "spec": spec}
    path = f"{namespace.path}/pods"
    client.request("POST", path, query={"dryRun": "All"}, body=body, warn=warnings.append)

    (warning,) = warnings
    assert warning.startswith("spec.nodeSelector[beta.kubernetes.io/os]: deprecated")


def test_what_is_no_object_is_read_as_text(client: KubeClient) -> None:
    assert client.read_text("/livez/ping") == "ok"


def test_an_api_server_that_is_not_there_has_no_status() -> None:
    away = KubeClient(Configuration(host="http://127.0.0.1:1"))
    with pytest.raises(
        KubeError, match=r"^GET /version: connection refused \(127.0.0.1:1\)$"
    ) as caught:
        away.request("GET", "/version")
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "/x: the response is not JSON"),
        (200, b"", "/x: the response is not JSON"),
        (200, b"[" * 20_000, "/x: the response is not JSON"),
        (200, b"[]", "/x: the response is not a JSON object"),
        (500, b"", "no reason given"),
        (502, b"<html>\xff", "<html>"),
        (403, b'{"message": "pods is forbidden"}', "GET /x: pods is forbidden"),
        (403, b'["message"]', '["message"]'),
    ],
)
def test_an_answer_that_cannot_be_used_says_what_came(
    status: int, body: bytes, reason: str
) -> None:
    answering = misbehaving(lambda path, query: (status, body))
    with answering as client, pytest.raises(KubeError) as caught:
        client.request("GET", "/x")
    assert reason in str(caught.value)
    assert caught.value.status == (status if status >= 300 else 0)


class _Elsewhere(BaseHTTPRequestHandler):
    """Redirects every request to another path."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_nobody_is_led_elsewhere_with_our_token() -> None:
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = KubeClient(Configuration(host=f"http://127.0.0.1:{server.server_address[1]}"))
        with pytest.raises(KubeError) as caught:
            client.request("GET", "/x")
        thread.join()
    assert (caught.value.status, _Elsewhere.asked) == (302, ["/x"])


def test_what_fails_is_asked_once() -> None:
    asked: list[str] = []

    def cut(path: str, query: dict[str, str]) -> tuple[int, bytes]:
        asked.append(path)
        raise ConnectionResetError

    with misbehaving(cut) as client, pytest.raises(KubeError, match=r"^GET /x: ") as caught:
        client.request("GET", "/x")
    assert (caught.value.status, asked) == (0, ["/x"])


def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 20)
    bodies = {"/just": b'{"a": "' + b"x" * 11 + b'"}', "/over": b'{"a": "' + b"x" * 12 + b'"}'}
    with misbehaving(lambda path, query: (200, bodies[path])) as client:
        assert client.request("GET", "/just") == {"a": "x" * 11}
        with pytest.raises(KubeError, match="/over: the response is over"):
            client.request("GET", "/over")


def test_an_event_in_many_parts_is_one() -> None:
    whole = event("ADDED", "\u00e9", "1")
    parts = [whole[at : at + 1] for at in range(len(whole))]

    def answer(path: str, query: dict[str, str]) -> Iterator[bytes]:
        yield from [*parts, event("ADDED", "b", "2") + event("ADDED", "c", "3")]

    with misbehaving(answer) as client:
        names = [item["object"]["metadata"]["name"] for item in _watch(client)]
    assert names == ["\u00e9", "b", "c"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{\n", "not JSON"), (b"[]\n", "not a JSON object"), (b"x" * 200, "an event is over")],
)
def test_an_event_that_is_none_ends_the_watch(
    monkeypatch: pytest.MonkeyPatch, line: bytes, reason: str
) -> None:
    monkeypatch.setattr(module, "MAX_EVENT_BYTES", 100)
    answering = misbehaving(lambda path, query: iter([line]))
    with answering as client, pytest.raises(KubeError, match=f"/w: .*{reason}"):
        _watch(client)


def test_a_watch_that_is_refused_says_why() -> None:
    body = json.dumps({"message": "too old"}).encode()
    answering = misbehaving(lambda path, query: (410, body))
    with answering as client, pytest.raises(KubeError, match="watch /w: too old") as caught:
        _watch(client)
    assert caught.value.status == 410
