"""An aggregate on a real API server, and one that gets its pods from a real injector."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Namespace, Release, make_namespace
from tests.cluster.injector import running_injector
from tests.cluster.pods import Server, Workload, running_server, wait_for_text
from tests.cluster.proxy import CutConnections
from tests.real_parts.kubernetes import ApiServer
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program, promtool_program, running_prometheus
from tests.sidecar.processes import ROOT, Proxy

pytestmark = pytest.mark.anyio

_LOCAL = ("--port", "0", "--admin-port", "0", "--allow-local-addresses")


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def workload(client: KubeClient, server: Server) -> Workload:
    return Workload(make_namespace(client, "shop", {"team": "frontend"}), server)


@contextmanager
def _running(*arguments: str, log: Path, **environ: str) -> Iterator[Proxy]:
    proxy = Proxy(("--role", "aggregate", *_LOCAL, *arguments), log, environ)
    try:
        yield proxy
    finally:
        proxy.process.terminate()
        proxy.process.wait(20)


def _get(proxy: Proxy, path: str = "/metrics", what: str = "metrics") -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.port(what)}{path}") as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def _once(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "--role", "aggregate", "--once", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def _select(api_server: ApiServer, workload: Workload) -> tuple[str, ...]:
    return (
        "--pod-label-selector", "app=web", "-n", workload.namespace.name,
        "--kubeconfig", str(api_server.kubeconfig),
    )  # fmt: skip


def test_pods_come_change_and_go_between_scrapes(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    workload.add("web-0", b"a 1\n")
    workload.add("other", b"a 1\n", labels={"app": "api"})
    with _running(*_select(api_server, workload), log=tmp_path / "log") as proxy:
        text = wait_for_text(lambda: _get(proxy), 'pod="web-0"} 1\n')
        assert 'pod="other"' not in text
        workload.add("web-1", b"a 2\n")
        wait_for_text(lambda: _get(proxy), 'pod="web-0"} 1\n', 'pod="web-1"} 2\n')
        workload.annotate("web-0", scrape="false")
        _wait_without(proxy, 'pod="web-0"')
        workload.set_status("web-1", phase="Succeeded")
        _wait_without(proxy, 'pod="web-1"')
        workload.annotate("web-0", scrape="true")
        wait_for_text(lambda: _get(proxy), 'pod="web-0"} 1\n')
        workload.remove("web-0")
        _wait_without(proxy, 'pod="web-0"')


def _wait_without(proxy: Proxy, text: str) -> None:
    deadline = time.monotonic() + 20
    while text in _get(proxy):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_namespaces_labels_are_read_and_followed(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    workload.add("web-0", b"a 1\n")
    arguments = (*_select(api_server, workload), "--read-namespace-labels")
    with _running(*arguments, log=tmp_path / "log") as proxy:
        wait_for_text(lambda: _get(proxy), 'a{team="frontend",')
        workload.namespace.label(team="backend")
        wait_for_text(lambda: _get(proxy), 'a{team="backend",')


def test_the_seeds_environment_alone_is_enough(
    api_server: ApiServer, workload: Workload, server: Server, tmp_path: Path
) -> None:
    mark = workload.namespace.name
    workload.add("web-0", b'a{namespace="theirs"} 1\n', labels={"mark": mark})
    environ = {
        "KUBECONFIG": str(api_server.kubeconfig),
        "POD_LABEL_SELECTOR": f"app=web,mark={mark}",
        "SCRAPE_TIMEOUT": "15s",
        "PORT": "0",
    }
    proxy = Proxy(("--allow-local-addresses", "--admin-port", "0"), tmp_path / "log", environ)
    try:
        text = wait_for_text(lambda: _get(proxy), "up{")
    finally:
        proxy.process.terminate()
        proxy.process.wait(20)

    assert f'a{{namespace="theirs",k8s_namespace="{mark}",k8s_pod_name="web-0"}} 1\n' in text
    assert f'up{{k8s_namespace="{mark}",k8s_pod_name="web-0"}} 1\n' in text


def test_while_the_api_server_is_away_the_last_pods_stay(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    workload.add("web-0", b"a 1\n")
    with CutConnections(api_server) as between:
        between.client()
        kubeconfig = next(api_server.kubeconfig.parent.glob("kubeconfig-*"))
        arguments = (*_select(api_server, workload)[:4], "--kubeconfig", str(kubeconfig))
        with _running(*arguments, log=tmp_path / "log") as proxy:
            wait_for_text(lambda: _get(proxy), 'pod="web-0"} 1\n')
            between.cut()
            read = lambda: _get(proxy, what="admin")  # noqa: E731
            wait_for_text(read, "livery_aggregate_watch_failures_total 1")
            assert 'pod="web-0"} 1\n' in _get(proxy)
            assert _get(proxy, "/readyz", "admin") == "ok\n"
            shown = json.loads(_get(proxy, "/targets", "admin"))
            assert "the API server cannot be reached" in shown["trouble"]


def test_once_prints_one_exposition(api_server: ApiServer, workload: Workload) -> None:
    workload.add("web-0", b"a 1\n")

    done = _once(*_select(api_server, workload), "--allow-local-addresses")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a{namespace=")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"labels": {"app": "api"}}, "there is no pod that matches 'app=web' in namespace"),
        ({"annotations": {"prometheus.io/scrape": "false"}}, "1 without prometheus.io/scrape"),
    ],
)
def test_once_says_why_no_pod_is_there(
    api_server: ApiServer, workload: Workload, metadata: dict[str, Any], reason: str
) -> None:
    workload.add("web-0", **metadata)

    done = _once(*_select(api_server, workload), "--allow-local-addresses")

    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_once_ends_when_it_is_interrupted(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    workload.add("web-0", None)
    arguments = ("--role", "aggregate", *_LOCAL, *_select(api_server, workload), "--once")
    proxy = Proxy(arguments, tmp_path / "log", {})
    time.sleep(1.5)
    started = time.monotonic()

    assert proxy.stop(signal.SIGINT) == 130
    assert time.monotonic() - started < 3


def _limited_kubeconfig(api_server: ApiServer, namespace: Namespace, folder: Path) -> Path:
    """Write a kubeconfig for an account without permissions, unless a test grants some."""
    document = yaml.safe_load(api_server.kubeconfig.read_text())
    audience = "https://kubernetes.default.svc"
    token = namespace.token("default", audience=audience)
    document["users"] = [{"name": document["users"][0]["name"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_missing_right_is_named_with_the_commands_that_give_it(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    name = workload.namespace.name
    kubeconfig = _limited_kubeconfig(api_server, workload.namespace, tmp_path)
    done = _once("--pod-label-selector", "app=web", "-n", name, "--kubeconfig", str(kubeconfig))

    assert done.returncode == 1
    assert f"--serviceaccount={name}:default -n {name}" in done.stderr


def test_a_token_that_is_not_valid_is_said_to_be_one(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    kubeconfig = _limited_kubeconfig(api_server, workload.namespace, tmp_path)
    text = kubeconfig.read_text()
    kubeconfig.write_text(text.replace("token: ", "token: x"))
    done = _once("--pod-label-selector", "app=web", "--kubeconfig", str(kubeconfig))

    assert done.returncode == 1
    assert "answered 401" in done.stderr
    assert "is invalid or has expired" in done.stderr


def test_a_real_prometheus_scrapes_a_hundred_pods_while_pods_come_and_go(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    have(prometheus_program)
    body = b"# HELP a What.\n# TYPE a counter\n" + b"".join(
        b'a{path="/%d"} 1\n' % row for row in range(20)
    )
    for number in range(100):
        workload.add(f"web-{number}", body)
    with _running(*_select(api_server, workload), log=tmp_path / "log") as proxy:
        wait_for_text(lambda: _get(proxy), 'pod="web-99"')
        config = f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: aggregate
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{proxy.port()}"]}}]
"""
        with running_prometheus(config, tmp_path / "prometheus") as prometheus:
            wait_for_text(lambda: prometheus.query("count(a)"), "2000")
            for number in range(5):
                workload.add(f"new-{number}", body)
                workload.remove(f"web-{number}")
            wait_for_text(lambda: prometheus.query('count(a{pod=~"new-.*"})'), "100")
            time.sleep(1)
            (gaps,) = prometheus.query('min(min_over_time(up{pod="web-50"}[30s]))')
            (health,) = prometheus.query('min(min_over_time(up{instance!="",pod=""}[30s]))')
            # A scrape every 200 ms: there is one sample per scrape, so none is missing.
            counts = prometheus.query(
                'count(count_over_time(a{pod="web-50",path="/1"}[10s]) == '
                'ignoring(pod,path,namespace) group_left count_over_time(up{pod=""}[10s]))'
            )
            identities = prometheus.query('count(count by (pod, path) (a{pod="web-50"}))')

    assert (gaps["value"][1], health["value"][1]) == ("1", "1")
    assert [item["value"][1] for item in counts] == ["1"]
    assert [item["value"][1] for item in identities] == ["20"]


def test_promtool_accepts_the_answer(
    api_server: ApiServer, workload: Workload, tmp_path: Path
) -> None:
    promtool = have(promtool_program)
    body = (
        b"# HELP app_seconds What.\n# TYPE app_seconds histogram\n"
        b'app_seconds_bucket{le="1"} 1\napp_seconds_bucket{le="+Inf"} 2\n'
        b"app_seconds_sum 3\napp_seconds_count 2\n"
        b"# HELP app_requests_total Requests.\n# TYPE app_requests_total counter\n"
        b"app_requests_total 5\n"
    )
    for number in range(3):
        workload.add(f"web-{number}", body)
    done = _once(*_select(api_server, workload), "--allow-local-addresses")

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=done.stdout, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr, checked.stdout) == (0, "", "")


async def test_an_injector_sends_the_pods_of_the_own_namespace_without_any_right(
    client: KubeClient, release: Release, server: Server, tmp_path: Path
) -> None:
    shop = await asyncio.to_thread(make_namespace, client, "shop", {"team": "frontend"})
    workload = Workload(shop, server)
    await asyncio.to_thread(workload.add, "web-0", b"a 1\n")
    await asyncio.to_thread(shop.pod, "aggregate")
    (tmp_path / "token").write_text(await asyncio.to_thread(shop.token, "default", pod="aggregate"))
    async with running_injector(release) as running:
        environ = {
            "LIVERY_CONTROL_URL": f"https://127.0.0.1:{running.service.ports[1]}",
            "LIVERY_CONTROL_CA": running.service.admission.ca_bundle,
            "LIVERY_TOKEN_FILE": str(tmp_path / "token"),
        }
        selector = ("--pod-label-selector", "app=web")
        with _running(*selector, log=tmp_path / "log", **environ) as proxy:
            await asyncio.to_thread(
                wait_for_text, lambda: _get(proxy), 'a{team="frontend",', 'pod="web-0"} 1\n'
            )
            await asyncio.to_thread(workload.add, "web-1", b"a 2\n")
            await asyncio.to_thread(wait_for_text, lambda: _get(proxy), 'pod="web-1"} 2\n')
            await asyncio.to_thread(shop.label, team="backend")
            await asyncio.to_thread(wait_for_text, lambda: _get(proxy), 'a{team="backend",')
            await asyncio.to_thread(workload.remove, "web-0")
            await asyncio.to_thread(_wait_without, proxy, 'pod="web-0"')
