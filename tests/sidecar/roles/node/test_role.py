"""The node role between a kubelet over real TLS, with tokens, and a scraper."""

import asyncio
import contextlib
import gzip
import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from webhook_certs.authority import Authority, create_authority, issue_leaf

from sidecar.errors import SettingsError
from sidecar.http import messages
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import scan
from sidecar.model.policy.node import KUBELET_ENDPOINTS
from sidecar.roles.node.role import NodeRole
from sidecar.roles.node.settings import parse_node_settings
from tests.sidecar.apps import Answer, http, until
from tests.sidecar.kubelets import AUTHORITY, POLICY, kubelet_tls, node_proxy
from tests.sidecar.model.exposition.test_stream import CADVISOR, LABELLED

_NODE = ("--role", "node", "--auth=none")
pytestmark = pytest.mark.anyio


def _chunked(*parts: bytes, whole: bool = True, pause: float = 0.0) -> Answer:
    """Answer in chunks, as the kubelet does; without the last chunk unless `whole`."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(pause)
        if whole:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return act


@pytest.mark.parametrize("endpoint", KUBELET_ENDPOINTS)
async def test_every_endpoint_of_the_kubelet_is_labelled(tmp_path: Path, endpoint: str) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        response = await kubelet.get(endpoint)

        assert (response.status_code, response.content) == (200, LABELLED)
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        (head,) = kubelet.app.requests
        assert head.startswith(f"GET {endpoint} HTTP/1.1\r\n")
        assert "Authorization: Bearer secret-token\r\n" in head


async def test_the_answer_begins_before_the_kubelet_has_finished(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        first, second = CADVISOR[:300], CADVISOR[300:]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(CADVISOR) + first)
        await gate.wait()
        writer.write(second)

    async with node_proxy(tmp_path, answer) as kubelet, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{kubelet.role.ports.bound['metrics']}/metrics/cadvisor"
        async with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as response:
            parts = response.aiter_bytes()
            begun = await anext(parts)
            assert begun.startswith(b"# HELP container_last_seen")
            gate.set()
            rest = b"".join([part async for part in parts])
        assert begun + rest == LABELLED


async def test_gzip_is_what_the_scraper_asked_for(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        response = await kubelet.get(**{"Accept-Encoding": "gzip"})

        assert response.headers["content-encoding"] == "gzip"
        assert response.content == LABELLED


async def test_a_kubelet_that_compresses_is_understood_and_a_bomb_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped = http(gzip.compress(CADVISOR), headers={"Content-Encoding": "gzip"})
    async with node_proxy(tmp_path, zipped) as kubelet:
        assert (await kubelet.get()).content == LABELLED
        bomb = gzip.compress(b"a" * (200 << 20))
        kubelet.app.answer = http(bomb, headers={"Content-Encoding": "gzip"})
        assert (await kubelet.get()).status_code == 502


async def test_labels_follow_the_policy_and_go_with_their_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.control.policy_file.POLL_SECONDS", 0.01)
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        await kubelet.get()
        kubelet.policy.write_text(json.dumps({"namespaces": {"bank": {"team": "new"}}}))

        async def is_new() -> bool:
            return b'team="new"' in (await kubelet.get()).content

        async with asyncio.timeout(4):
            while not await is_new():
                await asyncio.sleep(0.01)
        text = (await kubelet.get()).text
        assert "frontend" not in text
        assert 'id="/",namespace="",pod=""} 1.7e+09' in text


async def test_timestamps_are_passed_on_where_they_are_wanted(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), "--honor-timestamps") as kubelet:
        assert "machine_memory_bytes 25 1700000000000\n" in (await kubelet.get()).text


async def test_what_breaks_off_midway_is_never_a_whole_answer(tmp_path: Path) -> None:
    async with node_proxy(
        tmp_path, _chunked(CADVISOR[:300], CADVISOR[300:], whole=False)
    ) as kubelet:
        with pytest.raises(httpx.RemoteProtocolError):
            await kubelet.get()
        kubelet.app.answer = _chunked(CADVISOR, b"a line that is none\nb 1\n", pause=0.02)
        with pytest.raises(httpx.RemoteProtocolError):
            await kubelet.get()
        metrics = await kubelet.admin()
        counted = 'livery_node_broken_scrapes_total{endpoint="/metrics/cadvisor"} 2\n'
        assert counted in metrics
        kubelet.app.answer = http(CADVISOR)
        assert (await kubelet.get()).content == LABELLED


async def test_a_client_of_http_1_0_gets_the_whole_or_an_error(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        port = kubelet.role.ports.bound["metrics"]

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics/cadvisor HTTP/1.0\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

        whole = await ask()
        assert f"Content-Length: {len(LABELLED)}\r\n".encode() in whole
        assert whole.endswith(LABELLED)
        kubelet.app.answer = _chunked(CADVISOR[:300], whole=False)
        assert (await ask()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (http(b"", status="401 Unauthorized"), 502, "the token was rejected"),
        (http(b"", status="403 Forbidden"), 502, "is not allowed to get nodes/metrics"),
        (http(b"x" * (1 << 20), status="500 Oh"), 502, "the kubelet answered 500: xxx"),
        (http(b"", status="302 Found"), 502, "redirects are not followed"),
        (http(b"<html>", kind="text/html"), 502, "'text/html' instead of text/plain"),
        (http(b"nonsense", headers={"Content-Encoding": "gzip"}), 502, "gzip body is damaged"),
        (http(b"no metrics at all\n"), 502, "no metrics at all"),
        (b"nonsense\r\n\r\n", 502, "not HTTP/1.1"),
    ],
)
async def test_what_the_kubelet_may_say_instead_is_an_error_with_its_reason(
    tmp_path: Path, answer: bytes, status: int, reason: str
) -> None:
    async with node_proxy(tmp_path, answer) as kubelet:
        response = await kubelet.get()

        assert response.status_code == status
        assert reason in response.text
        assert len(response.text) < 1000


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        (lambda: kubelet_tls("other.example"), "certificate verify failed"),
        (
            lambda: kubelet_tls(at=datetime.now(UTC) - timedelta(hours=3)),
            "certificate verify failed",
        ),
        (lambda: kubelet_tls(authority=create_authority("x", datetime.now(UTC))), "verify failed"),
    ],
    ids=["other-name", "expired", "other-authority"],
)
async def test_a_kubelet_that_is_not_verified_gets_no_token(
    tmp_path: Path, tls: Any, reason: str
) -> None:
    context = tls()
    async with node_proxy(tmp_path, http(CADVISOR), tls=context) as kubelet:
        response = await kubelet.get()
        assert (response.status_code, reason in response.text) == (502, True)
        assert kubelet.app.requests == []

    skip = "--kubelet-insecure-skip-tls-verify"
    async with node_proxy(tmp_path, http(CADVISOR), skip, tls=context) as kubelet:
        assert (await kubelet.get()).status_code == 200
        assert "livery_node_kubelet_tls_verified 0\n" in await kubelet.admin()


async def test_a_slow_kubelet_ends_with_the_scrape_s_time(tmp_path: Path) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    late = {"X-Prometheus-Scrape-Timeout-Seconds": "0.2"}
    async with node_proxy(tmp_path, silent) as kubelet:
        assert (await kubelet.get(**late)).status_code == 504
        kubelet.app.answer = _chunked(*[b"a%d 1\n" % i for i in range(100)], pause=0.05)
        with pytest.raises(httpx.RemoteProtocolError):
            await kubelet.get(**late)


async def test_a_scraper_in_too_much_of_a_hurry_gets_an_error(tmp_path: Path) -> None:
    hurry = {"X-Prometheus-Scrape-Timeout-Seconds": "0.001"}
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        assert (await kubelet.get(**hurry)).status_code in (502, 504)
        assert (await kubelet.get()).content == LABELLED


async def test_a_namespace_with_many_and_odd_labels_is_worn_whole(tmp_path: Path) -> None:
    odd = ('"\\\n' * 21)[:63]
    labels = {f"key-{n}": "x" * 63 for n in range(199)} | {"odd": odd}
    async with node_proxy(tmp_path, http(b'a{namespace="shop"} 1\n')) as kubelet:
        kubelet.tell({"namespaces": {"shop": labels}})
        (sample,) = scan((await kubelet.get()).content, Format.TEXT)

        worn = dict(sample.head.series.labels) if sample.head.series else {}
        assert len(worn) == 201
        assert unescape(worn[b"odd"]).decode() == odd
        assert worn[b"key_198"] == b"x" * 63


async def test_without_labels_nothing_is_served(tmp_path: Path) -> None:
    settings = parse_node_settings([*_NODE, "--kubelet-ca-file", ""], {})
    response = await NodeRole(settings).handle_data(
        messages.Request("GET", "/metrics/cadvisor", "", {})
    )

    assert (response.status, b"there is no source of labels" in response.body) == (503, True)
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        kubelet.policy.write_text('{"labels": {"team": "x"}}')
        kubelet.role.source.read()
        assert (await kubelet.get()).status_code == 200  # the last valid policy stays active
        assert "livery_node_policies_rejected_total 1" in await kubelet.admin()


async def test_a_connection_that_the_kubelet_closed_meanwhile_costs_no_scrape(
    tmp_path: Path,
) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        for _ in range(3):
            assert (await kubelet.get()).status_code == 200
            kubelet.app.hang_up()
            await asyncio.sleep(0.05)
        assert kubelet.app.connections == 3


async def test_what_is_no_text_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(b"<html>", kind="text/html")) as kubelet:
        for _ in range(5):
            assert (await kubelet.get()).status_code == 502
        await until(lambda: not kubelet.app.open_connections)

        async def hang(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\n")
            await writer.drain()

        kubelet.app.answer = hang
        late = {"X-Prometheus-Scrape-Timeout-Seconds": "0.1"}
        assert (await kubelet.get(**late)).status_code == 504
        await until(lambda: not kubelet.app.open_connections)


async def test_a_second_request_behind_a_streamed_answer_ends_the_connection(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        writer.write(http(CADVISOR)[:-100])
        await gate.wait()
        writer.write(http(CADVISOR)[-100:])

    async with node_proxy(tmp_path, wait) as kubelet:
        port = kubelet.role.ports.bound["metrics"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"GET /metrics/cadvisor HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(request)
        await asyncio.sleep(0.05)
        gate.set()
        async with asyncio.timeout(4):
            answer = await reader.read()  # until the server closes
        assert answer.endswith(b"0\r\n\r\n")
        writer.close()


async def test_the_data_port_speaks_tls_with_a_certificate_that_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sidecar.http.tls.CERTIFICATE_POLL_SECONDS", 0.02)

    def write(authority: Authority) -> None:
        leaf = issue_leaf(authority, ["127.0.0.1"], datetime.now(UTC))
        (tmp_path / "tls.crt").write_text(leaf.chain_pem)
        (tmp_path / "tls.key").write_text(leaf.key_pem)

    first, second = [create_authority(name, datetime.now(UTC)) for name in ("one", "two")]
    write(first)
    files = ["--tls-cert-file", str(tmp_path / "tls.crt"), "--tls-key-file"]
    async with node_proxy(tmp_path, http(CADVISOR), *files, str(tmp_path / "tls.key")) as kubelet:
        url = f"https://127.0.0.1:{kubelet.role.ports.bound['metrics']}/metrics/cadvisor"

        async def get_by(authority: Authority) -> bytes:
            trust = ssl.create_default_context(cadata=authority.certificate_pem)
            async with httpx.AsyncClient(verify=trust) as client:
                return (await client.get(url)).content

        assert await get_by(first) == LABELLED
        write(second)
        async with asyncio.timeout(4):
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    assert await get_by(second) == LABELLED
                    break
                await asyncio.sleep(0.02)
        (tmp_path / "tls.crt").write_text("nonsense")
        await until(lambda: "the new certificate cannot be used" in caplog.text)
        assert await get_by(second) == LABELLED


async def test_more_than_a_few_scrapes_at_once_wait_and_more_than_many_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet.proxy.MAX_WAITING", 4)
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        writer.write(http(CADVISOR)[:-400])
        await gate.wait()
        writer.write(http(CADVISOR)[-400:])

    async with node_proxy(tmp_path, wait) as kubelet:
        paths = [f"/metrics/cadvisor?scrape={number}" for number in range(5)]
        scrapes = [asyncio.create_task(kubelet.get(path)) for path in paths[:4]]
        await until(lambda: kubelet.role.kubelets[""].running.get("/metrics/cadvisor") == 4)
        await until(lambda: len(kubelet.app.requests) == 2)
        refused = await kubelet.get(paths[4])
        gate.set()
        whole = await asyncio.gather(*scrapes)

    assert refused.status_code == 503
    assert [response.content for response in whole] == [LABELLED] * 4


async def test_equal_scrapes_that_come_at_once_ask_the_kubelet_once(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(CADVISOR))

    async with node_proxy(tmp_path, wait) as kubelet:
        encodings = ["gzip", "identity"] * 4
        scrapes = [
            asyncio.create_task(kubelet.get(**{"Accept-Encoding": item})) for item in encodings
        ]
        await until(lambda: len(kubelet.app.requests) == 1)
        await asyncio.sleep(0.1)
        # The first client may disconnect: the others still get their response.
        scrapes[0].cancel()
        gate.set()
        whole = await asyncio.gather(*scrapes[1:])
        assert len(kubelet.app.requests) == 1
        await until(lambda: kubelet.role.kubelets[""].running == {"/metrics/cadvisor": 0})
        after = await kubelet.get()

    assert {response.content for response in (*whole, after)} == {LABELLED}


async def test_rules_are_those_for_all_and_those_of_the_endpoint(tmp_path: Path) -> None:
    def drop(name: str) -> dict[str, Any]:
        return {"sourceLabels": ["__name__"], "regex": name, "action": "drop"}

    policy = {
        **POLICY,
        "metricRelabelings": [drop("machine_memory_bytes")],
        "endpointRelabelings": {"/metrics/cadvisor": [drop("container_last_seen")]},
    }
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        kubelet.tell(policy)
        cadvisor, own = (await kubelet.get()).text, (await kubelet.get("/metrics")).text

        assert "machine_memory_bytes" not in cadvisor + own
        assert "container_last_seen{" not in cadvisor
        assert "container_last_seen{" in own
        kubelet.tell({**policy, "endpointRelabelings": {}})
        assert (await kubelet.get()).text == own


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("--max-samples=3", "more than 3 samples"), ("--max-labels=3", "3 are allowed")],
)
async def test_what_is_over_a_bound_of_the_platform_breaks_the_answer_off(
    tmp_path: Path, limit: str, reason: str
) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), limit) as kubelet:
        response = await kubelet.get()
        assert (response.status_code, reason in response.text) == (502, True)


async def test_the_control_service_is_told_how_each_endpoint_fares(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        await kubelet.get()
        kubelet.app.answers["/metrics"] = http(b"", status="500 Oh")
        await kubelet.get("/metrics")
        url = f"https://127.0.0.1:{kubelet.app.port}"

        report = kubelet.role.report()

        assert (report["role"], report["samples"]) == ("node", 4)
        assert report["targets"] == [
            {
                "url": f"{url}/metrics",
                "up": False,
                "error": "the kubelet answered 500",
                "samples": 0,
            },
            {"url": f"{url}/metrics/cadvisor", "up": True, "error": "", "samples": 4},
        ]


@pytest.mark.parametrize(
    ("environ", "arguments", "url"),
    [
        ({}, [], "https://localhost:10250"),
        ({"NODE_NAME": "worker-1"}, [], "https://worker-1:10250"),
        ({"NODE_NAME": "worker-1", "NODE_IP": "10.0.0.7"}, [], "https://10.0.0.7:10250"),
        ({"NODE_IP": "fd00::7"}, [], "https://[fd00::7]:10250"),
        ({}, ["--kubelet-url", "https://a:1/x"], "https://a:1/x"),
        ({"NODE_NAME": "w"}, ["--via-apiserver"],
         "https://kubernetes.default.svc/api/v1/nodes/w/proxy"),
        ({}, ["--via-apiserver=https://api:6443/", "--node-name", "w"],
         "https://api:6443/api/v1/nodes/w/proxy"),
    ],
)  # fmt: skip
def test_the_kubelet_s_address(environ: Mapping[str, str], arguments: list[str], url: str) -> None:
    assert parse_node_settings([*_NODE, *arguments], environ).kubelet.url == url


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "x"], "'x' is not a port"),
        (["--port", "8081"], "they must differ"),
        (
            ["--kubelet-url", "https://a", "--via-apiserver"],
            "--kubelet-url must not be set with --via-apiserver",
        ),
        (["--via-apiserver"], "--via-apiserver: '' is not a node name"),
        (["--all-nodes", "--kubelet-url", "https://a"], "node addresses come from the policy"),
        (["--metrics-secure"], "needs --metrics-cert-path"),
        (
            ["--metrics-bind-address", "x"],
            "--metrics-bind-address: 'x' is not an address such as :8443",
        ),
        (["--remember-mib", "0"], "not an integer"),
        (["--via-apiserver", "--node-name", ".."], r"'\.\.' is not a node name"),
        (["--node-cadvisor-path", "/a b"], "contains a space"),
        (["--node-cadvisor-path", "/a\r\nb"], "is not a path"),
        (
            ["--metrics-secure", "--metrics-cert-path=/c", "--metrics-bind-address=:8081"],
            "is already used by --port or --admin-port",
        ),
        (["--metrics-secure=perhaps"], "is not true or false"),
        (["--via-apiserver", "--node-name", "../x"], r"'\.\./x' is not a node name"),
        (["--kubelet-url", "ftp://a", "--kubelet-ca-file", ""], "is not https://host:port"),
        (["--kubelet-url", "https://a:b"], "is not https://host:port"),
        (["--kubelet-ca-file", "/nowhere/ca.crt"], "--kubelet-ca-file: /nowhere/ca.crt"),
        (["--unknown"], "unrecognized arguments: --unknown"),
        (["--auth", "token"], "needs a control service"),
        (["--tls-cert-file", "x"], "--tls-cert-file and --tls-key-file must be set together"),
        (
            ["--tls-cert-file", "/no", "--tls-key-file", "/no", "--kubelet-ca-file", ""],
            "--tls-cert-file, --tls-key-file: /no",
        ),
    ],
)
def test_what_is_wrong_with_the_command_line_is_named(arguments: list[str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        NodeRole(parse_node_settings([*_NODE, *arguments], {}))


@pytest.mark.parametrize("dash", ["-", "--"])
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["node-name-or-ip=worker-1"], {"url": "https://worker-1:10250"}),
        (["node-name-or-ip=worker-1", "node-ip=10.0.0.7"], {"url": "https://10.0.0.7:10250"}),
        (["node-ip=fd00::7", "node-port=10255"], {"url": "https://[fd00::7]:10255"}),
        (["node-cadvisor-path=/x/cadvisor"], {"cadvisor_path": "/x/cadvisor"}),
        (["kube-apiserver=api.example", "node-name-or-ip=w"],
         {"url": "https://api.example:443/api/v1/nodes/w/proxy"}),
        (["kube-apiserver=https://api:6443", "node-name-or-ip=w"],
         {"url": "https://api:6443/api/v1/nodes/w/proxy"}),
        (["kube-apiserver=10.0.0.1:6443", "node-name-or-ip=w"],
         {"url": "https://10.0.0.1:6443/api/v1/nodes/w/proxy"}),
        (["node-ip=[fd00::7]"], {"url": "https://[fd00::7]:10250"}),
        (["kube-apiserver=10.0.0.1", "node-port=6443", "node-name-or-ip=w"],
         {"url": "https://10.0.0.1:6443/api/v1/nodes/w/proxy"}),
    ],
)  # fmt: skip
def test_flags_of_kubelet_meta_proxy_say_where_the_kubelet_is(
    dash: str, flags: list[str], expected: dict[str, str]
) -> None:
    settings = parse_node_settings([*_NODE, *(f"{dash}{flag}" for flag in flags)], {})

    assert {name: getattr(settings.kubelet, name) for name in expected} == expected


def test_its_other_flags_are_taken_with_and_without_an_equals_sign() -> None:
    flags = [
        "-metrics-port", "9000", "-enable-http2=false", "--max-concurrency", "5",
        "-cache-sync-timeout=2m", "-health-probe-bind-address=:9001", "--metrics-secure",
        "--metrics-bind-address=0.0.0.0:9443", "--metrics-cert-path=/c", "-metrics-cert-key=k.pem",
    ]  # fmt: skip
    settings = parse_node_settings([*_NODE, *flags], {})

    assert (settings.port, settings.admin_port, settings.secure_admin_port) == (9000, 9001, 9443)
    assert settings.admin_certificate == (Path("/c/tls.crt"), Path("/c/k.pem"))
    assert [note.split(":")[0] for note in settings.notes] == [
        "--enable-http2 has no effect", "--max-concurrency has no effect",
        "--cache-sync-timeout has no effect",
    ]  # fmt: skip
    assert parse_node_settings([*_NODE, "-metrics-secure=false"], {}).notes == ()


async def test_the_admin_port_is_served_over_tls_too_where_it_is_asked(tmp_path: Path) -> None:
    leaf = issue_leaf(AUTHORITY, ["127.0.0.1"], datetime.now(UTC))
    (tmp_path / "tls.crt").write_text(leaf.chain_pem)
    (tmp_path / "tls.key").write_text(leaf.key_pem)
    secure = ["--metrics-secure", f"--metrics-cert-path={tmp_path}", "--metrics-bind-address=:0"]
    async with node_proxy(tmp_path, http(CADVISOR), *secure) as kubelet:
        await until(lambda: "admin over TLS" in kubelet.role.ports.bound)
        url = f"https://127.0.0.1:{kubelet.role.ports.bound['admin over TLS']}/metrics"
        trust = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
        async with httpx.AsyncClient(verify=trust) as client:
            assert "livery_node_build_info" in (await client.get(url)).text


async def test_cadvisor_s_path_may_be_another_at_the_kubelet(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), "-node-cadvisor-path=/other") as kubelet:
        await kubelet.get("/metrics/cadvisor?a=b")
        await kubelet.get("/metrics")
        paths = [request.split(" ")[1] for request in kubelet.app.requests]
        assert paths == ["/other?a=b", "/metrics"]
