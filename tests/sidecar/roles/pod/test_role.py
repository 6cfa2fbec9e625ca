import asyncio
import gzip
import json
import os
import socket
from pathlib import Path

import pytest

from sidecar.control import policy_file
from sidecar.process import ports as listening
from sidecar.roles.pod import role as pod
from sidecar.roles.pod.role import PodRole
from sidecar.roles.pod.settings import parse_pod_settings
from tests.sidecar.apps import OPENMETRICS, App, connected, get, http, until, zipped
from tests.sidecar.running_pods import running_pod

pytestmark = pytest.mark.anyio

_TEXT = b'# HELP a What.\n# TYPE a gauge\na 1\na{b="c"} 2 1700000000000\n'
_EXEMPLARS = (
    b'# TYPE a counter\na_total{b="c"} 2.0 # {trace_id="x"} 1.0 1.7\n'
    b"# TYPE b unknown\nb 1 1.5\n# EOF\n"
)
_ASKS_OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5"


def _reread(role: PodRole, path: Path) -> None:
    """Make the role read its policy file now."""
    assert path.exists()
    role.source.read()


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _policy(path: Path, document: dict[str, object]) -> str:
    return str(_write(path / "policy.json", json.dumps(document)))


def _labelled(team: str) -> str:
    return f"labels: {{team: {team}}}"


async def test_a_targets_text_is_passed_on_byte_for_byte() -> None:
    async with App(http(_TEXT)) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port)

    assert (reply.status, reply.body) == (200, _TEXT)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")


async def test_series_wear_the_labels_of_a_policy_file(tmp_path: Path) -> None:
    policy = _policy(tmp_path, {"labels": {"example.com/team": "blue"}})
    async with (
        App(http(_TEXT)) as app,
        running_pod("--target", app.target, "--policy", policy) as role,
    ):
        reply = await get(role.data_port)

    assert b'a{example_com_team="blue"} 1\n' in reply.body
    assert b'a{b="c",example_com_team="blue"} 2 1700000000000\n' in reply.body


async def test_series_wear_the_bootstrap_labels_of_the_environment() -> None:
    environ = {
        "LIVERY_NAMESPACE_LABELS": "team=blue,empty=",
        "LIVERY_LABEL_RULES": '{"prefix": "ns_"}',
    }
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, environ=environ) as role,
    ):
        assert (await get(role.data_port)).body == b'a{ns_team="blue"} 1\n'


@pytest.mark.parametrize(
    ("document", "body"),
    [
        ({"labels": {"b": "ours"}}, b'a{b="app"} 1\nc{b="ours"} 2\n'),
        (
            {"labels": {"b": "ours"}, "labelRules": {"protected": ["b"]}},
            b'a{exported_b="app",b="ours"} 1\nc{b="ours"} 2\n',
        ),
        ({"metricRelabelings": [{"action": "labeldrop", "regex": "b"}]}, b"a 1\nc 2\n"),
        (
            {"metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "c", "action": "drop"}]},
            b'a{b="app"} 1\n',
        ),
    ],
)
async def test_a_policys_rules_apply(
    tmp_path: Path, document: dict[str, object], body: bytes
) -> None:
    arguments = ("--policy", _policy(tmp_path, document))
    async with (
        App(http(b'a{b="app"} 1\nc 2\n')) as app,
        running_pod("--target", app.target, *arguments) as role,
    ):
        assert (await get(role.data_port)).body == body


async def test_a_filter_waits_for_rules_and_then_lets_through_what_they_name(
    tmp_path: Path,
) -> None:
    path = _write(tmp_path / "policy.yaml", "{}")
    arguments = ("--policy", str(path), "--filter", "metricaccess")
    async with (
        App(http(b"a 1\nc 2\n")) as app,
        running_pod("--target", app.target, *arguments) as role,
    ):
        assert (await get(role.data_port)).status == 503
        path.write_text('access: [{name: x, patterns: [c], namespaces: "*"}]')
        _reread(role, path)
        reply = await get(role.data_port)

    assert (reply.status, reply.body) == (200, b"c 2\n")


async def test_an_edited_policy_file_comes_into_force_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_file, "POLL_SECONDS", 0.01)
    path = _write(tmp_path / "policy.yaml", _labelled("blue"))
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, "--policy", str(path)) as role,
    ):
        seen = [(await get(role.data_port)).text]
        path.write_text("labels: [")
        await until(lambda: "policies_rejected_total 1" in _metrics(role))
        seen.append((await get(role.data_port)).text)
        path.write_text(_labelled("green"))
        await until(lambda: role.policy.series.labels == {"team": "green"})
        seen.append((await get(role.data_port)).text)

    assert seen == ['a{team="blue"} 1\n', 'a{team="blue"} 1\n', 'a{team="green"} 1\n']


def _metrics(role: PodRole) -> str:
    return role.render_metrics().decode()


async def test_a_bad_policy_file_is_the_reason_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_file, "POLL_SECONDS", 0.01)
    path = tmp_path / "policy.yaml"
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, "--policy", str(path)) as role,
    ):
        bad = await get(role.data_port)
        ready = await get(role.admin_port, "/readyz")
        path.write_text(_labelled("blue"))
        await until(lambda: not role.source.fault)
        good = await get(role.data_port)

    assert (bad.status, ready.status, good.status) == (503, 503, 200)
    assert ready.text == f"policy: {bad.text}"
    assert bad.text.startswith(f"the policy cannot be used: {path}: ")


async def test_one_target_that_is_down_is_a_502_with_its_reason() -> None:
    async with App(b"") as app:
        pass
    async with running_pod("--target", app.target) as role:
        reply = await get(role.data_port)

    assert reply.status == 502
    assert reply.text.startswith(
        f"http://localhost:{app.port}/metrics: connection refused on port "
    )


async def test_one_target_that_is_late_is_a_504() -> None:
    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with App(answer) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port, X_Prometheus_Scrape_Timeout_Seconds="0.1")

    assert reply.status == 504
    assert reply.text.endswith(": no complete response within 0.09 s\n")


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (
            b"<html>",
            "text/html; charset=utf-8",
            "Content-Type 'text/html; charset=utf-8', which is",
        ),
        (b"x", "application/vnd.google.protobuf", "which is not a text exposition"),
        (b"a 1\nb{ 2\n", "text/plain", "line 2: "),
        (b"a 1\n", OPENMETRICS, "does not end with # EOF"),
        (b"".join(b"a%d 1\n" % i for i in range(50_001)), "text/plain", "more than 50000 samples"),
        (b"a 1\n" * 3_000_000, "text/plain", "more than 10 MiB from one target"),
        (b"# EOF\n" * 200_000, OPENMETRICS, "more than 150000 lines of OpenMetrics"),
        (
            b"a{" + b",".join(b'l%d="v"' % i for i in range(1025)) + b"} 1\n",
            "",
            "a series of 'a' has 1025 labels; 1024 are allowed",
        ),
    ],
)
async def test_what_cannot_be_exposed_is_a_502_with_its_reason(
    body: bytes, kind: str, sentence: str
) -> None:
    async with App(http(body, kind)) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port)

    assert reply.status == 502
    assert sentence in reply.text
    assert reply.text.count("\n") == 1


async def test_an_answer_that_labels_make_too_large_is_a_502(tmp_path: Path) -> None:
    policy = _policy(tmp_path, {"labels": {f"l{i}": "x" * 63 for i in range(40)}})
    body = b"".join(b"a%d 1\n" % i for i in range(20_000))
    async with (
        App(http(body)) as app,
        running_pod("--target", app.target, "--policy", policy) as role,
    ):
        reply = await get(role.data_port)

    assert reply.status == 502
    assert "more than 24 MiB of series with their labels" in reply.text


async def test_several_targets_are_merged_and_told_apart() -> None:
    async with App(http(b"# TYPE a gauge\na 1\nz 1\n")) as one, App(http(b"a 2\n")) as two:
        targets = ("--target", f"one={one.target}", "--target", f"two={two.target}")
        async with running_pod(*targets) as role:
            reply = await get(role.data_port, "/metrics?x=1")

    lines = reply.text.split("\n")
    merged = [
        "# TYPE a gauge",
        'a{container="one"} 1',
        'a{container="two"} 2',
        'z{container="one"} 1',
    ]
    assert lines[:4] == merged
    assert 'livery_target_up{container="one"} 1' in lines
    assert 'livery_target_samples{container="two"} 1' in lines
    assert any(line.startswith("livery_target_scrape_duration_seconds{") for line in lines)
    assert one.requests[0].startswith("GET /metrics HTTP/1.1")


async def test_one_bad_target_of_several_shows_as_down() -> None:
    async with App(http(b"a 1\n")) as good, App(http(b"b{\n")) as bad:
        targets = ("--target", f"good={good.target}", "--target", f"bad={bad.target}")
        async with running_pod(*targets) as role:
            reply = await get(role.data_port)

    assert reply.status == 200
    assert 'a{container="good"} 1\n' in reply.text
    assert 'livery_target_up{container="good"} 1\n' in reply.text
    assert 'livery_target_up{container="bad"} 0\n' in reply.text


async def test_guessed_targets_carry_their_port_and_one_that_never_answers_is_not_down() -> None:
    answers = [http(b"a 1\n"), http(b"a 2\n"), http(b"", status="404 No")]
    async with App(answers[0]) as one, App(answers[1]) as two, App(answers[2]) as none:
        targets = [arg for app in (one, two, none) for arg in ("--target", f"web={app.target}")]
        async with running_pod(*targets, "--targets", "guessed") as role:
            reply = await get(role.data_port)
            admin = await get(role.admin_port)
            report = role.report()
            two.answer = http(b"", status="500 Oh")
            later = await get(role.data_port)

    for app, value in ((one, 1), (two, 2)):
        marks = f'container="web",port="{app.port}"'
        assert f"a{{{marks}}} {value}\n" in reply.text
        assert f"livery_target_up{{{marks}}} 1\n" in reply.text
    assert f"# web:{none.port}: answered 404" in reply.text
    assert f'livery_target_up{{container="web",port="{none.port}"}}' not in reply.text
    assert f":{none.port}/" not in admin.text
    assert [item.get("guess", False) for item in report["targets"]] == [False, False, True]  # type: ignore[attr-defined]
    assert f'livery_target_up{{container="web",port="{two.port}"}} 0\n' in later.text


async def test_all_targets_down_is_a_502_with_both_reasons() -> None:
    async with App(http(b"", status="500 Oh")) as one, App(http(b"", status="404 No")) as two:
        targets = ("--target", f"one={one.target}", "--target", f"two={two.target}")
        async with running_pod(*targets) as role:
            reply = await get(role.data_port)

    assert reply.status == 502
    assert "answered 500; http://" in reply.text
    assert reply.text.endswith("answered 404\n")


async def test_one_target_keeps_its_exemplars_for_who_takes_them() -> None:
    async with (
        App(http(_EXEMPLARS, OPENMETRICS)) as app,
        running_pod("--target", app.target) as role,
    ):
        reply = await get(role.data_port, Accept=_ASKS_OPENMETRICS)

    assert reply.body == _EXEMPLARS
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "Accept: application/openmetrics-text" in app.requests[0]


async def test_a_target_that_knows_text_only_is_answered_as_text() -> None:
    async with App(http(_TEXT)) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port, Accept=_ASKS_OPENMETRICS)

    assert reply.body == _TEXT
    assert reply.headers["content-type"].startswith("text/plain")


async def test_openmetrics_among_several_targets_becomes_text() -> None:
    async with App(http(_EXEMPLARS, OPENMETRICS)) as one, App(http(b"c 3\n")) as two:
        targets = ("--target", f"one={one.target}", "--target", f"two={two.target}")
        async with running_pod(*targets) as role:
            reply = await get(role.data_port, Accept=_ASKS_OPENMETRICS)

    assert reply.headers["content-type"].startswith("text/plain")
    assert '# TYPE a_total counter\na_total{b="c",container="one"} 2.0\n' in reply.text
    assert 'b{container="one"} 1 1500\n' in reply.text
    assert "trace_id" not in reply.text


async def test_who_takes_gzip_gets_gzip() -> None:
    body = b"".join(b"a%d 1\n" % i for i in range(1_000))
    async with App(zipped(body)) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port, Accept_Encoding="deflate, gzip;q=0.5")
        plain = await get(role.data_port, Accept_Encoding="gzip;q=0")

    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == plain.body == body


async def test_a_query_reaches_the_only_target_and_authorization_does_not() -> None:
    async with App(http(b"a 1\n")) as app, running_pod("--target", app.target) as role:
        await get(role.data_port, "/metrics?name[]=a&x", Authorization="Bearer s", Cookie="s")

    assert app.requests[0].startswith("GET /metrics?name[]=a&x HTTP/1.1\r\n")
    assert "uthorization" not in app.requests[0]
    assert "ookie" not in app.requests[0]


async def test_simultaneous_scrapes_share_one_fan_out_however_many_they_are() -> None:
    gate = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(b"a 1\n"))

    async with App(answer) as app, running_pod("--target", app.target) as role:
        waiting = [asyncio.create_task(get(role.data_port)) for _ in range(20)]
        await until(lambda: role.scrapes.waiting == 20)
        gate.set()
        replies = [await task for task in waiting]

    assert [reply.status for reply in replies] == [200] * 20
    assert len(app.requests) == 1


async def test_clients_that_vanish_make_room_for_others() -> None:
    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with App(answer) as app, running_pod("--target", app.target) as role:
        for number in range(12):
            async with connected(role.data_port) as client:
                await client.send(b"GET /metrics?%d HTTP/1.1\r\n\r\n" % number)
                await until(lambda: role.scrapes.waiting == 1)
            await until(lambda: role.scrapes.waiting == 0)
        app.answer = http(b"a 1\n")

        assert (await get(role.data_port)).status == 200


async def test_answers_that_nobody_reads_stop_further_scrapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod, "MAX_UNSENT_BYTES", 1 << 20)
    body = b"".join(b"a%d 1\n" % i for i in range(49_000)) + b"# " + b"x" * (9 << 20) + b"\n"
    async with App(http(body)) as app, running_pod("--target", app.target) as role:
        async with connected(role.data_port, limit=1024) as client:
            await client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
            await until(lambda: role.data.unsent_bytes > 0)
            reply = await get(role.data_port)
        await until(lambda: role.data.unsent_bytes == 0)

        assert (await get(role.data_port)).status == 200
    assert (reply.status, reply.text) == (503, "clients have not read earlier responses yet\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--target: no target is set, so there is nothing to scrape\n"),
        (["--target", "ftp://x"], "--target: 'ftp://x': scheme 'ftp' is neither http nor https\n"),
        (["--target", "http://192.0.2.1:1/"], "--target: '192.0.2.1' is not a loopback address;"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate\n"),
        (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (["--target"], "argument --target: expected one argument\n"),
    ],
)
async def test_a_wrong_argument_is_served_as_the_reason(arguments: list[str], reason: str) -> None:
    async with running_pod(*arguments) as role:
        scrape = await get(role.data_port)
        ready = await get(role.admin_port, "/readyz")
        health = await get(role.admin_port, "/healthz")

    assert (scrape.status, ready.status, health.status) == (503, 503, 200)
    assert scrape.text.startswith(reason)


@pytest.mark.parametrize(
    "environ",
    [
        {"LIVERY_CONTROL_URL": "http://control"},
        {"LIVERY_CONTROL_URL": "https://control:99999"},
        {"LIVERY_CONTROL_URL": "https://[::1"},
        {"LIVERY_CONTROL_URL": "https://control:8444", "LIVERY_CONTROL_CA": "no PEM"},
        {"LIVERY_NAMESPACE_LABELS": "a=b", "LIVERY_LABEL_RULES": "["},
        {"LIVERY_NAMESPACE_LABELS": "a=b", "LIVERY_LABEL_RULES": "[" * 100_000},
        {"LIVERY_NAMESPACE_LABELS": "a=b", "LIVERY_LABEL_RULES": '{"prefix": 1}'},
        {"LIVERY_NAMESPACE_LABELS": "a=\udcff"},
    ],
)
async def test_a_wrong_variable_is_served_as_the_reason(environ: dict[str, str]) -> None:
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, environ=environ) as role,
    ):
        reply = await get(role.data_port)

    assert reply.status == 503
    assert reply.text.count("\n") == 1
    assert 10 < len(reply.text) < 400


async def test_only_get_of_metrics_is_served_on_the_data_port() -> None:
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target) as role,
        connected(role.data_port) as client,
    ):
        await client.send(b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert (await client.reply()).status == 405
        assert (await client.get("/healthz")).status == 404
        assert (await client.get("/metrics/")).status == 404
    assert not app.requests


async def test_the_admin_port_tells_of_scrapes_and_targets() -> None:
    async with App(http(b"a 1\n")) as app, running_pod("--target", app.target) as role:
        await get(role.data_port)
        app.answer = http(b"", status="500 Oh")
        await get(role.data_port)
        text = (await get(role.admin_port)).text

    assert 'livery_proxy_scrapes_total{code="200"} 1\n' in text
    assert 'livery_proxy_scrapes_total{code="502"} 1\n' in text
    assert f'livery_proxy_target_up{{target="http://localhost:{app.port}/metrics"}} 0\n' in text
    assert "livery_proxy_policies_rejected_total 0\n" in text


async def test_a_busy_port_is_reported_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PORT_RETRY_SECONDS", 0.01)
    async with App(http(b"a 1\n")) as app:
        with socket.create_server(("", 0)) as taken:
            port = taken.getsockname()[1]
            given = ["--role", "pod", "--port", str(port), "--admin-port", "0"]
            role = PodRole(parse_pod_settings([*given, "--target", app.target], {}))
            stop = asyncio.Event()
            task = asyncio.create_task(role.run(stop))
            await until(lambda: bool(role.admin_port and role.ports.faults))
            ready = await get(role.admin_port, "/readyz")
        await until(lambda: bool(role.data_port))

        assert (await get(port)).status == 200
        assert (await get(role.admin_port, "/readyz")).status == 200
        stop.set()
        await task
    assert ready.status == 503
    assert ready.text.startswith(f"port: cannot listen on port {port}: ")


async def test_a_policy_that_changes_during_a_scrape_harms_nothing(tmp_path: Path) -> None:
    path = _write(tmp_path / "policy.yaml", _labelled("blue"))
    gate = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(b"a 1\n"))

    async with (
        App(answer) as app,
        running_pod("--target", app.target, "--policy", str(path)) as role,
    ):
        scrape = asyncio.create_task(get(role.data_port))
        await until(lambda: bool(app.requests))
        _reread(role, _write(path, _labelled("green")))
        gate.set()

        assert (await scrape).body == b'a{team="green"} 1\n'


async def test_the_report_says_what_runs_and_fails() -> None:
    async with App(http(b"a 1\nb 2\n")) as app, running_pod("--target", app.target) as role:
        await get(role.data_port)
        report = role.report()

    targets = [
        {"url": f"http://localhost:{app.port}/metrics", "up": True, "error": "", "samples": 2}
    ]
    assert report["targets"] == targets
    assert (report["role"], report["policyVersion"], report["faults"]) == ("pod", "", [])
    assert len(json.dumps(report)) < 65536
    assert os.getpid()


async def test_a_proxy_that_refuses_every_scrape_reports_why_in_the_words_of_the_refusal() -> None:
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, "--filter", "metricaccess") as role,
    ):
        refused = await get(role.data_port)
        report, admin = role.report(), await get(role.admin_port)
        ready = await get(role.admin_port, "/readyz")

    assert refused.status == 503
    assert report["faults"] == [refused.text.strip()]
    assert ready.text == f"access-rules: {refused.text}"
    assert 'livery_proxy_unready{reason="access-rules"} 1\n' in admin.text
    assert "livery_proxy_faults 1\n" in admin.text


async def test_a_head_request_is_answered_as_get_without_the_body() -> None:
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target) as role,
        connected(role.data_port) as client,
    ):
        await client.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = await client.reply(has_body=False)
        assert (reply.status, reply.headers["content-length"]) == (200, "4")
        assert (await client.get("/metrics")).text == "a 1\n"


async def test_a_path_with_a_slash_too_many_is_a_404_that_says_so() -> None:
    async with App(http(b"a 1\n")) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port, "/metrics/")
        assert (reply.status, "without a trailing slash" in reply.text) == (404, True)
        assert (await get(role.data_port, "http://x/metrics")).text == "a 1\n"


async def test_named_headers_of_the_scraper_reach_the_target_and_no_others() -> None:
    async with App(http(b"a 1\n")) as app:
        names = ("--pass-headers", "Authorization, X-Scope")
        async with running_pod("--target", app.target, *names) as role:
            await get(role.data_port, Authorization="Bearer x", X_Other="y")

    assert "authorization: Bearer x\r\n" in app.requests[0]
    assert "other" not in app.requests[0].lower()
    assert "x-scope" not in app.requests[0].lower()


async def test_scrapes_with_other_credentials_do_not_share_a_fan_out() -> None:
    gate = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(b"a 1\n"))

    names = ("--pass-headers", "Authorization")
    async with App(answer) as app, running_pod("--target", app.target, *names) as role:
        waiting = [
            asyncio.create_task(get(role.data_port, Authorization=f"Bearer {who}")) for who in "aab"
        ]
        await until(lambda: role.scrapes.waiting == 3)
        gate.set()
        await asyncio.gather(*waiting)

    assert sorted(text.split("Bearer ")[1][0] for text in app.requests) == ["a", "b"]


async def test_without_passed_headers_a_401_says_how_to_pass_them() -> None:
    unauthorized = http(b"", status="401 Unauthorized")
    async with App(unauthorized) as app, running_pod("--target", app.target) as role:
        reply = await get(role.data_port)

    assert (reply.status, "livery.dev/pass-headers: Authorization" in reply.text) == (502, True)


async def test_a_fallback_protocol_reads_a_body_whose_type_is_wrong() -> None:
    async with App(http(b"a 1\n", kind="text/html")) as app:
        name = ("--fallback-protocol", "PrometheusText0.0.4")
        async with running_pod("--target", app.target, *name) as role:
            assert (await get(role.data_port)).text == "a 1\n"
        async with running_pod("--target", app.target) as role:
            assert "livery.dev/fallback-protocol" in (await get(role.data_port)).text


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (("--pass-headers", "Host"), "--pass-headers: 'host' cannot be passed on"),
        (("--fallback-protocol", "PrometheusProto"), "protobuf is not supported"),
        (("--fallback-protocol", "x"), "--fallback-protocol: 'x': unknown protocol"),
        (("--samples-limit", "many"), "--samples-limit: 'many' is not a number"),
        (("--bytes-limit", "1Ti"), "--bytes-limit: '1Ti' is not a number of bytes"),
    ],
)
async def test_a_wrong_setting_is_the_reason_of_each_503(
    argument: tuple[str, str], reason: str
) -> None:
    async with (
        App(http(b"a 1\n")) as app,
        running_pod("--target", app.target, *argument) as role,
    ):
        reply = await get(role.data_port)

    assert (reply.status, reason in reply.text) == (503, True)


async def test_a_raised_limit_lets_more_samples_through() -> None:
    body = b"".join(b'a{i="%d"} 1\n' % i for i in range(60_000))
    async with App(http(body)) as app:
        async with running_pod("--target", app.target, "--samples-limit", "60000") as role:
            assert (await get(role.data_port)).status == 200
        async with running_pod("--target", app.target) as role:
            assert "more than 50000 samples" in (await get(role.data_port)).text
