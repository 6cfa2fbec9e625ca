import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.errors import TargetError
from sidecar.http.messages import Request, Response
from sidecar.kubelet.client import KubeletSettings
from sidecar.kubelet.discovery.targets import NodeDiscovery
from tests.sidecar.apps import App, http, until
from tests.sidecar.kubelets import AUTHORITY, kubelet_tls, pod, tell_pods

pytestmark = pytest.mark.anyio

_SHOP, _BANK = tell_pods(pod("shop", "web")), tell_pods(pod("bank", "app", ip="10.0.0.2"))
_DOWN = http(b"", status="500 Oh")


class _Nodes(dict[str, KubeletSettings]):
    """Kubelets by the names of their nodes."""

    def of(self, name: str) -> KubeletSettings:
        if name not in self:
            raise TargetError(f"there is no node {name!r}")
        return self[name]

    def put(self, name: str, app: App) -> None:
        self[name] = KubeletSettings(f"http://127.0.0.1:{app.port}")


@contextlib.asynccontextmanager
async def _discovery(nodes: _Nodes, file: Path | None = None) -> AsyncIterator[NodeDiscovery]:
    discovery = NodeDiscovery(file, nodes.of)
    try:
        yield discovery
    finally:
        await discovery.close()


@contextlib.asynccontextmanager
async def _two(file: Path | None = None) -> AsyncIterator[tuple[App, App, NodeDiscovery]]:
    """Run two kubelets, of the nodes `a` and `b`."""
    nodes = _Nodes()
    async with App(_SHOP) as a, App(_BANK) as b, _discovery(nodes, file) as discovery:
        nodes.put("a", a)
        nodes.put("b", b)
        yield a, b, discovery


async def _ask(
    discovery: NodeDiscovery, *nodes: str, query: str = "", accepts: str = ""
) -> Response:
    request = Request("GET", "/targets", query, {"accept-encoding": accepts})
    return await discovery.answer(request, nodes, {})


def _addresses(response: Response) -> list[str]:
    assert response.status == 200, response.body
    return [address for group in json.loads(response.body) for address in group["targets"]]


def _outdate(file: Path) -> None:
    """Rewrite the arguments' file with the same settings, so that kubelets are asked again."""
    file.write_text((file.read_text() if file.exists() else "{}") + "\n")


async def test_the_targets_of_all_nodes_are_one_list() -> None:
    async with _two() as (_, _, discovery):
        response = await _ask(discovery, "a", "b")

        assert _addresses(response) == ["10.0.0.1:80", "10.0.0.2:80"]
        assert response.content_type == "application/json"
        assert _addresses(await _ask(discovery, "b")) == ["10.0.0.2:80"]


async def test_a_list_is_compressed_where_that_is_accepted() -> None:
    async with _two() as (_, _, discovery):
        whole, zipped = [await _ask(discovery, "a", accepts=way) for way in ("", "gzip")]

        assert gzip.decompress(zipped.body) == whole.body
        assert ("Content-Encoding", "gzip") in zipped.headers
        assert {("Vary", "Accept-Encoding")} == set(whole.headers) & set(zipped.headers)


async def test_one_kubelet_that_fails_makes_the_whole_list_an_error() -> None:
    async with _two() as (_, b, discovery):
        b.answer = _DOWN
        response = await _ask(discovery, "a", "b")

        assert (response.status, response.body) == (502, b"the kubelet answered 500\n")


@pytest.mark.parametrize(
    ("query", "status"),
    [("stale=true", 200), ("stale=false", 502), ("stale=true&stale=false", 502), ("", 502)],
)
async def test_the_last_good_targets_are_for_clients_that_ask_for_them(
    tmp_path: Path, query: str, status: int
) -> None:
    _outdate(tmp_path / "a.yaml")
    async with _two(tmp_path / "a.yaml") as (_, b, discovery):
        good = await _ask(discovery, "a", "b")
        b.answer = _DOWN
        _outdate(tmp_path / "a.yaml")
        response = await _ask(discovery, "a", "b", query=query)

        assert response.status == status
        assert (response.body == good.body) is (status == 200)


async def test_where_no_kubelet_ever_answered_there_is_no_empty_list() -> None:
    async with _two() as (a, b, discovery):
        a.answer = b.answer = _DOWN

        assert (await _ask(discovery, "a", "b", query="stale=true")).status == 502


async def test_a_known_node_s_targets_are_listed_though_another_never_answered() -> None:
    async with _two() as (_, b, discovery):
        b.answer = _DOWN
        response = await _ask(discovery, "a", "b", query="stale=true")

        assert _addresses(response) == ["10.0.0.1:80"]


async def test_health_is_unknown_until_somebody_asks_and_follows_the_last_answer(
    tmp_path: Path,
) -> None:
    _outdate(tmp_path / "a.yaml")
    async with _two(tmp_path / "a.yaml") as (a, _, discovery):
        seen = [discovery.is_healthy]
        for answer in (_SHOP, _DOWN, _SHOP):
            a.answer = answer
            _outdate(tmp_path / "a.yaml")
            await _ask(discovery, "a")
            seen.append(discovery.is_healthy)

    assert seen == [None, True, False, True]


async def test_a_node_that_moved_is_asked_at_its_new_address() -> None:
    nodes = _Nodes()
    async with App(_SHOP) as old, App(_BANK) as new, _discovery(nodes) as discovery:
        for app in (old, new):
            nodes.put("a", app)
            response = await _ask(discovery, "a")

        assert _addresses(response) == ["10.0.0.2:80"]
        await until(lambda: not old.readers)


async def test_a_node_that_went_meanwhile_is_an_error_of_ours() -> None:
    async with _two() as (_, _, discovery):
        response = await _ask(discovery, "a", "gone")

        assert (response.status, response.body) == (502, b"there is no node 'gone'\n")


async def test_nodes_that_are_forgotten_keep_no_connection_and_no_targets() -> None:
    async with _two() as (a, b, discovery):
        await _ask(discovery, "a", "b")
        await discovery.forget_others(["b"])
        await until(lambda: not a.readers)
        await _ask(discovery, "a", "b")

        assert (len(a.requests), len(b.requests)) == (2, 1)


async def test_no_more_kubelets_are_asked_at_once_than_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.kubelet.discovery.targets.MAX_QUESTIONS", 1)
    running, most = 0, 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)  # time for a concurrent request
        running -= 1
        writer.write(_SHOP)

    async with _two() as (a, b, discovery):
        a.answer = b.answer = answer
        assert len(_addresses(await _ask(discovery, "a", "b"))) == 2

    assert most == 1


async def test_the_kubelet_is_asked_as_for_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token")
    (tmp_path / "ca.crt").write_text(AUTHORITY.certificate_pem)
    nodes = _Nodes()
    async with App(_SHOP, tls=kubelet_tls()) as app, _discovery(nodes) as discovery:
        nodes["a"] = KubeletSettings(
            f"https://127.0.0.1:{app.port}/x/",
            token_file=tmp_path / "token",
            ca_file=tmp_path / "ca.crt",
        )
        assert (await _ask(discovery, "a")).status == 200

    assert app.requests[0].startswith("GET /x/pods HTTP/1.1\r\n")
    assert "Authorization: Bearer secret-token\r\n" in app.requests[0]


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"bearer_token": "own"}, "Bearer own"),
        ({"authorization": {"type": "Token", "credentials": "x"}}, "Token x"),
        ({"bearer_token": ""}, "Bearer secret-token"),
    ],
)
async def test_arguments_that_say_who_asks_take_precedence(
    tmp_path: Path, given: dict[str, object], header: str
) -> None:
    (tmp_path / "token").write_text("secret-token")
    (tmp_path / "a.yaml").write_text(json.dumps(given))
    nodes = _Nodes()
    async with App(_SHOP) as app, _discovery(nodes, tmp_path / "a.yaml") as discovery:
        url = f"http://127.0.0.1:{app.port}"
        nodes["a"] = KubeletSettings(url, token_file=tmp_path / "token")
        assert (await _ask(discovery, "a")).status == 200

    assert f"Authorization: {header}\r\n" in app.requests[0]


async def test_a_server_that_the_arguments_name_gets_no_token_of_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token")
    nodes = _Nodes()
    async with App(_SHOP) as other, _discovery(nodes, tmp_path / "a.yaml") as discovery:
        (tmp_path / "a.yaml").write_text(json.dumps({"url": f"http://127.0.0.1:{other.port}"}))
        nodes[""] = KubeletSettings("http://127.0.0.1:1", token_file=tmp_path / "token")
        assert (await _ask(discovery, "")).status == 200

    assert "authorization" not in other.requests[0].lower()


async def test_one_url_for_all_nodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(json.dumps({"url": "http://127.0.0.1:1"}))
    async with _two(tmp_path / "a.yaml") as (a, _, discovery):
        response = await _ask(discovery, "a")

    assert (response.status, response.body.startswith(b"url must not be set ")) == (502, True)
    assert a.requests == []
