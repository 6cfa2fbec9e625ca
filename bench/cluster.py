"""An injector on a real API server: memory, pod admission, and time until a label is visible."""

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.rig import application, fetch, process, usage, wait_until
from bench.table import Row, percentile
from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Namespace, installed_chart
from tests.real_parts.kubernetes import ApiServer, running_api_server
from tests.real_parts.ports import free_port

NAMESPACES = 5_000
CLUSTER_PODS = 20_000
PODS = 300
EDITS = 100
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_MB = 1e6


class _Stage(NamedTuple):
    client: KubeClient
    pid: int
    control_port: int


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text, running_api_server(Path(text)) as server:
        plain = _shop(server.client(), "plain", is_labelled=False)
        by_policy = _by_policy(server, plain)
        with _injector(server) as stage:
            idle = usage(stage.pid).resident_bytes / _MB
            shop = _shop(stage.client, "shop")
            wait_until(lambda: _is_injected(shop))
            by_webhook = _compare(shop, plain)
            delays = _edit(stage, shop)
            _fill(stage)
            full = usage(stage.pid).resident_bytes / _MB
    spread = f"median {percentile(delays, 0.5):.0f} ms; {EDITS} edits by PATCH"
    return [
        Row("injector in a cluster, idle", idle, "MB RSS", 80, "–"),
        Row("injector, 5,000 namespaces and 20,000 pods", full, "MB RSS", 150,
            "half of the pods request a proxy and have none"),
        Row("time added to a pod's creation by the webhook, p50", by_webhook.added, "ms", 5,
            f"{by_webhook.plain:.2f} ms without it; dry run, includes the API server and TLS"),
        Row("time added to a pod's creation by the policy, p50", by_policy.added, "ms", 1.5,
            f"{by_policy.plain:.2f} ms without it; injection.mode: policy, no webhook"),
        Row("a label edit through the API server, p99", percentile(delays, 0.99), "ms", 300,
            spread),
    ]  # fmt: skip


class _Creation(NamedTuple):
    """Median time to create a pod, in milliseconds."""

    plain: float
    added: float
    """Additional time if the pod is injected."""


def _by_policy(server: ApiServer, plain: Namespace) -> _Creation:
    client = server.client()
    with installed_chart(server, client, "--set", "injection.mode=policy"):
        shop = _shop(client, "policy")
        wait_until(lambda: _is_injected(shop))
        return _compare(shop, plain)


@contextmanager
def _injector(server: ApiServer) -> Iterator[_Stage]:
    client = server.client()
    ports = {name: free_port() for name in ("admission", "control", "metrics", "status")}
    with ExitStack() as stack:
        release = stack.enter_context(installed_chart(server, client))
        name = release.name
        arguments = {
            "namespace": release.own.name,
            "service": f"{name}-injector",
            "ca-secret": f"{name}-ca",
            "lease": f"{name}-status",
            "webhook-configuration": name,
            "host": "127.0.0.1",
            "log-level": "error",
            **{f"{kind}-port": port for kind, port in ports.items()},
        }
        given = [f"--{key}={value}" for key, value in arguments.items()]
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
        started = stack.enter_context(
            process("-m", "injector", "serve", "--cluster", *given, env=environment)
        )
        path = f"{_WEBHOOKS}/{name}"
        configuration = client.request("GET", path)
        for webhook in configuration["webhooks"]:
            where = webhook["clientConfig"].pop("service")["path"]
            webhook["clientConfig"]["url"] = f"https://127.0.0.1:{ports['admission']}{where}"
        client.request("PUT", path, body=configuration)
        wait_until(lambda: _is_ready(ports["metrics"]), 60)
        yield _Stage(client, started.pid, ports["control"])


def _is_ready(port: int) -> bool:
    try:
        return bool(fetch(f"http://127.0.0.1:{port}/readyz"))
    except OSError:
        return False


def _shop(client: KubeClient, name: str, *, is_labelled: bool = True) -> Namespace:
    labels = {"team": "frontend", **({"livery.dev/inject": "enabled"} if is_labelled else {})}
    client.request(
        "POST", "/api/v1/namespaces", body={"metadata": {"name": name, "labels": labels}}
    )
    made = Namespace(client, name)
    made.create("serviceaccounts", "default")
    return made


def _is_injected(shop: Namespace) -> bool:
    return bool(_try(shop).get("initContainers"))


def _try(shop: Namespace) -> dict[str, Any]:
    body = {
        "metadata": {"name": "web", "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {
            "containers": [{"name": "web", "image": "web:1"}],
            "serviceAccountName": "default",
        },
    }
    query = {"dryRun": "All"}
    made = shop.client.request("POST", f"{shop.path}/pods", query=query, body=body)
    return dict(made["spec"])


def _compare(shop: Namespace, plain: Namespace) -> _Creation:
    """Create pods in both namespaces alternately (dry run), so that noise affects both equally."""
    times: dict[str, list[float]] = {shop.name: [], plain.name: []}
    for _ in range(PODS):
        for namespace in (shop, plain):
            started = time.perf_counter()
            _try(namespace)
            times[namespace.name].append((time.perf_counter() - started) * 1000)
    without = percentile(times[plain.name], 0.5)
    return _Creation(without, percentile(times[shop.name], 0.5) - without)


def _edit(stage: _Stage, shop: Namespace) -> list[float]:
    """Edit the label repeatedly; return the milliseconds until a scrape carries each value."""
    shop.pod("web-0", **{"prometheus.io/scrape": "true"})
    pod = stage.client.request("GET", f"{shop.path}/pods/web-0")
    variables = {
        item["name"]: item.get("value", "") for item in pod["spec"]["initContainers"][0]["env"]
    }
    delays = []
    with tempfile.TemporaryDirectory() as folder, application(20) as url:
        token = Path(folder) / "token"
        token.write_text(shop.token("default", pod="web-0"))
        name = variables["LIVERY_CONTROL_URL"].removeprefix("https://").rpartition(":")[0]
        environment = {
            **{key: value for key, value in variables.items() if value},
            "LIVERY_CONTROL_URL": f"https://{name}:{stage.control_port}",
            "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
            "LIVERY_TOKEN_FILE": str(token),
            "LIVERY_POD_NAMESPACE": shop.name,
        }
        port, admin = free_port(), free_port()
        arguments = ["--role", "pod", "--target", url, "--port", str(port)]
        arguments += ["--admin-port", str(admin), "--log-level", "error"]
        with process("-m", "sidecar", *arguments, env=environment):
            wait_until(lambda: "connected 1" in _metrics(admin))
            for number in range(EDITS):
                started = time.perf_counter()
                shop.label(team=f"team-{number}")
                while f'team="team-{number}"' not in _metrics(port):
                    time.sleep(0.002)
                delays.append((time.perf_counter() - started) * 1000)
    return delays


def _metrics(port: int) -> str:
    try:
        return fetch(f"http://127.0.0.1:{port}/metrics")
    except OSError:
        return ""


def _fill(stage: _Stage) -> None:
    def create(number: int) -> None:
        labels = {f"label-{n}": f"value-{number}-{n}" for n in range(6)}
        annotations = {"note": "x" * 200}
        metadata = {"name": f"ns-{number}", "labels": labels, "annotations": annotations}
        stage.client.request("POST", "/api/v1/namespaces", body={"metadata": metadata})
        Namespace(stage.client, f"ns-{number}").create("serviceaccounts", "default")

    def run(number: int) -> None:
        # Every second pod requests a proxy and has none: the worst case for finding such pods.
        annotations = {"prometheus.io/scrape": "true"} if number % 2 else {}
        Namespace(stage.client, f"ns-{number % NAMESPACES}").pod(f"web-{number}", **annotations)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, range(NAMESPACES)))
        list(threads.map(run, range(CLUSTER_PODS)))
    time.sleep(3)  # until the last has arrived
