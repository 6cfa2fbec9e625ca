"""The reflector against API servers that misbehave."""

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from injector.errors import KubeError
from injector.kube.api import client as client_module
from injector.kube.api import reflector as module
from injector.kube.api.client import JsonObject
from injector.kube.api.reflector import Reflector, Resource
from tests.injector.kube.servers import Answer, Handle, event, failed, listed, misbehaving

NAMESPACES = Resource("Namespace", "/api/v1/namespaces")


class Seen:
    """The updates from a reflector, as names in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        self.told.append(("all", *(str(item["metadata"]["name"]) for item in objects)))

    def put(self, resource: Resource, obj: JsonObject) -> None:
        self.told.append(("put", str(obj["metadata"]["name"])))

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        self.told.append(("gone", str(obj["metadata"]["name"])))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.01)


@contextmanager
def _reflecting(
    handle: Handle, resource: Resource = NAMESPACES
) -> Iterator[tuple[Seen, Reflector]]:
    seen = Seen()
    with misbehaving(handle) as client:
        reflector = Reflector(client, resource, seen)
        reflector.start()
        yield seen, reflector
        reflector.stop()


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _quiet() -> Iterator[bytes]:
    threading.Event().wait(60)
    yield b""


def test_a_watch_goes_on_from_the_last_version_bookmarks_included() -> None:
    asked: list[str] = []

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            return listed("5", "a")
        asked.append(query["resourceVersion"])
        if len(asked) == 1:
            return iter([event("ADDED", "b", "6"), event("BOOKMARK", "", "9")])
        return iter([event("DELETED", "a", "10")]) if len(asked) == 2 else _quiet()

    with _reflecting(handle) as (seen, _):
        _until(lambda: len(asked) == 3)
        assert asked == ["5", "9", "10"]
        assert seen.told == [("all", "a"), ("put", "b"), ("gone", "a")]


@pytest.mark.parametrize("how", ["event", "status"])
def test_a_version_that_is_too_old_is_listed_anew(how: str) -> None:
    lists = itertools.count(1)

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            number = next(lists)
            return listed(str(number), f"n{number}")
        if query["resourceVersion"] == "1":
            return iter([failed(410)]) if how == "event" else (410, b"{}")
        return _quiet()

    with _reflecting(handle) as (seen, reflector):
        _until(lambda: len(seen.told) == 2)
        assert seen.told == [("all", "n1"), ("all", "n2")]
        assert reflector.error == ""


def test_an_error_that_a_version_leads_to_for_ever_is_left_by_listing() -> None:
    lists = itertools.count(1)

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            return listed(str(next(lists)), "a")
        return iter([failed(504)]) if query["resourceVersion"] == "1" else _quiet()

    with _reflecting(handle) as (seen, reflector):
        _until(lambda: len(seen.told) == 2)
        _until(lambda: not reflector.error)


def test_pages_are_put_together_and_an_expired_one_starts_over() -> None:
    answers = iter([
        listed("1", "a", following="x"), (410, b"{}"),
        listed("2", "a", following="x"), listed("2", "b"),
    ])  # fmt: skip

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        return _quiet() if "watch" in query else next(answers)

    with _reflecting(handle) as (seen, _):
        _until(lambda: seen.told)
        assert seen.told == [("all", "a", "b")]


@pytest.fixture
def without_collections() -> Iterator[None]:
    """Disable garbage collection: a finalizer at the deepest point of a recursion would fail."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"oops"), (429, b"{}"), (403, b'{"message": "namespaces is forbidden"}'),
        (200, b"not json"), (200, b"[]"), (200, b"[" * 100_000), (200, b"\xff"),
    ],
    ids=["500", "429", "403", "text", "list", "deep", "binary"],
)  # fmt: skip
@pytest.mark.usefixtures("without_collections")
def test_a_bad_answer_is_an_error_and_asked_again(bad: Answer) -> None:
    asked = itertools.count()

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" in query:
            return _quiet()
        return bad if next(asked) < 2 else listed("1", "a")

    with _reflecting(handle) as (seen, reflector):
        _until(lambda: reflector.error)
        _until(lambda: seen.told == [("all", "a")])
        _until(lambda: not reflector.error)


@pytest.mark.parametrize(
    "line",
    [b"not json\n", b"{}\n", b'{"type": "ADDED", "object": 7}\n', failed(500), b'{"type": "ADD'],
    ids=["text", "empty", "no-object", "error", "cut"],
)
def test_a_bad_event_breaks_the_watch_and_nothing_is_lost(line: bytes) -> None:
    watches = itertools.count()

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            return listed("1", "a")
        number = next(watches)
        return iter([line]) if number == 0 else iter([event("ADDED", f"n{number}", "2")])

    with _reflecting(handle) as (seen, _):
        _until(lambda: ("put", "n1") in seen.told)


def test_a_server_that_ends_every_watch_is_not_asked_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LAST_BACKOFF_SECONDS", 0.08)
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.01)
    pauses: list[float] = []

    def longest(low: float, high: float) -> float:
        pauses.append(high)
        return high

    monkeypatch.setattr("injector.kube.api.reflector.random.uniform", longest)

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            return listed("1", "a")
        return iter(())

    with _reflecting(handle):
        _until(lambda: pauses.count(0.08) >= 2)
    # The requested timeout of a watch is also random: it is over 200 s.
    assert [pause for pause in pauses if pause < 1][:5] == [0.01, 0.02, 0.04, 0.08, 0.08]


def test_an_event_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_EVENT_BYTES", 1 << 20)

    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        if "watch" not in query:
            return listed("1", "a")
        return itertools.repeat(b"x" * 65536)

    with _reflecting(handle) as (_, reflector):
        _until(lambda: "an event is over 1 MiB" in reflector.error)


def test_an_optional_resource_that_is_not_there_is_empty_and_no_error() -> None:
    def handle(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        return 404, b'{"message": "the server could not find the requested resource"}'

    with _reflecting(handle, NAMESPACES._replace(is_optional=True)) as (seen, reflector):
        _until(lambda: len(seen.told) >= 2)
        assert set(seen.told) == {("all",)}
        assert reflector.error == ""


def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1 << 20)
    with (
        misbehaving(lambda path, query: (200, b" " * (2 << 20))) as client,
        pytest.raises(KubeError, match="the response is over 1 MiB"),
    ):
        client.request("GET", "/api")
