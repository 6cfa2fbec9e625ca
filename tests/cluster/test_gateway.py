"""A gateway with rules from a real injector and callers that a real API server knows."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Namespace, Release, installed_chart, make_namespace
from tests.cluster.injector import running_injector
from tests.cluster.pods import wait_for_text
from tests.real_parts.kubernetes import ApiServer
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.sidecar.processes import ROOT, Proxy

pytestmark = pytest.mark.anyio

_RULES = "/apis/observability.ethos.io/v1alpha1/namespaces/{}/metricaccesses"
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}"
_ADMIN = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class Site:
    """Two tenants' namespaces, and the namespace of a Prometheus with series of both."""

    def __init__(
        self, client: KubeClient, release: Release, monitoring: Namespace, folder: Path
    ) -> None:
        self.client = client
        self.release = release
        self.monitoring = monitoring
        self.folder = folder
        self.shop = make_namespace(client, "shop")
        self.bank = make_namespace(client, "bank")

    def allow(self, namespace: Namespace) -> None:
        """Create the rule that lets a tenant see `up`."""
        rules = {
            "apiVersion": "observability.ethos.io/v1alpha1", "kind": "MetricAccess",
            "metadata": {"name": "up"}, "spec": {"metrics": ["up"], "metricIsolation": True},
        }  # fmt: skip
        self.client.request("POST", _RULES.format(namespace.name), body=rules)

    def forbid(self, namespace: Namespace) -> None:
        """Delete that rule."""
        self.client.request("DELETE", f"{_RULES.format(namespace.name)}/up")

    def let(self, visitor: Namespace, host: Namespace) -> None:
        """Let the default account of one namespace read the rules of another."""
        path = _RBAC.format(host.name)
        rule = {
            "apiGroups": ["observability.ethos.io"], "resources": ["metricaccesses"],
            "verbs": ["get"],
        }  # fmt: skip
        role = {"metadata": {"name": "visitor"}, "rules": [rule]}
        self.client.request("POST", f"{path}/roles", body=role)
        binding = {
            "metadata": {"name": "visitor"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "visitor"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "default", "namespace": visitor.name}
            ],
        }  # fmt: skip
        self.client.request("POST", f"{path}/rolebindings", body=binding)

    def prometheus_config(self) -> str:
        """Return a configuration that scrapes one target twice, once for each tenant."""
        return f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: app
  static_configs:
  - {{targets: ["127.0.0.1:1"], labels: {{namespace: "{self.shop.name}"}}}}
  - {{targets: ["127.0.0.1:2"], labels: {{namespace: "{self.bank.name}"}}}}
"""


@pytest.fixture
def site(api_server: ApiServer, client: KubeClient, tmp_path: Path) -> Iterator[Site]:
    have(prometheus_program)
    monitoring = make_namespace(client, "monitoring")
    found = "gateway.backends.discovery[0]"
    values = ("gateway.enabled=true", f"{found}.kind=EndpointSlice",
              f"{found}.namespaces={{{monitoring.name}}}")  # fmt: skip
    pairs = [item for value in values for item in ("--set", value)]
    with installed_chart(api_server, client, *pairs) as release:
        made = Site(client, release, monitoring, tmp_path)
        account = f"{release.name}-gateway"
        release.own.create("pods", "gateway", spec={
            "containers": [{"name": "a", "image": "a"}], "serviceAccountName": account,
        })  # fmt: skip
        (tmp_path / "token").write_text(release.own.token(account, pod="gateway"))
        yield made


class Door:
    """A client of a gateway that can use any token."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def get(self, path: str, token: str, what: str = "queries", tenants: str = "") -> Any:
        """Return the status and the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.proxy.port(what)}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        if tenants:
            request.add_header("X-Tenant-Namespace", tenants)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.status, json.loads(error.read())

    def metrics(self) -> str:
        """Return the gateway's own metrics."""
        url = f"http://127.0.0.1:{self.proxy.port('admin')}/metrics"
        with urllib.request.urlopen(url) as answer:
            return str(answer.read().decode())

    def namespaces(self, token: str, tenants: str = "") -> object:
        """Return the namespaces whose `up` the token's owner sees, or the status and the error."""
        query = urllib.parse.quote("count by (namespace) (up)")
        status, answer = self.get(f"/api/v1/query?query={query}", token, tenants=tenants)
        if status != 200:
            return status, answer["error"]
        return sorted(item["metric"]["namespace"] for item in answer["data"]["result"])

    def wait(self, expected: object, token: str, tenants: str = "", seconds: float = 20.0) -> float:
        """Wait until the token's owner sees exactly these namespaces; returns the seconds."""
        started = time.monotonic()
        while (found := self.namespaces(token, tenants)) != expected:
            assert time.monotonic() - started < seconds, found
            time.sleep(0.05)
        return time.monotonic() - started


async def test_tokens_and_rules_say_what_a_tenant_sees(site: Site) -> None:
    with running_prometheus(site.prometheus_config(), site.folder / "prometheus") as prometheus:
        async with running_injector(site.release) as running:
            environ = {
                "LIVERY_CONTROL_URL": f"https://127.0.0.1:{running.service.ports[1]}",
                "LIVERY_CONTROL_CA": running.service.admission.ca_bundle,
                "LIVERY_TOKEN_FILE": str(site.folder / "token"),
            }
            await asyncio.to_thread(_walk, site, prometheus, environ)


def _walk(site: Site, prometheus: Prometheus, environ: dict[str, str]) -> None:
    arguments = ("--role", "gateway", "--port", "0", "--admin-port", "0")
    proxy = Proxy((*arguments, "--backend", prometheus.url), site.folder / "log", environ)
    try:
        door = Door(proxy)
        shop, bank = site.shop.name, site.bank.name
        token = site.shop.token("default", audience="livery-gateway")
        door.wait([], token)  # no rule, nothing to see
        site.allow(site.shop)
        door.wait([shop], token)
        assert f'sent     up{{namespace=~"{shop}"}}' in _explain(site, "up")
        _only_tokens_for_the_gateway_count(site, door)
        _others_by_rbac_alone(site, door, token)
        site.forbid(site.shop)
        assert door.wait([], token) < 2
        assert door.namespaces(token, f"{shop},{bank}") == [bank]
        _backends_come_and_go(site, door)
    finally:
        proxy.stop()


def _only_tokens_for_the_gateway_count(site: Site, door: Door) -> None:
    for audience in ("livery-control", "https://kubernetes.default.svc"):
        other = site.shop.token("default", audience=audience)
        found = door.namespaces(other)
        assert isinstance(found, tuple)
        assert found[0] == 401
    assert door.get("/debug/tenants", other, "admin")[0] == 401


def _explain(site: Site, query: str) -> str:
    """Return the output of `livery explain query` for a tenant of this cluster."""
    command = [
        sys.executable, "-m", "injector", "explain", "query", "-n", site.shop.name,
        "--livery-namespace", site.release.own.name, "--release", site.release.name, query,
    ]  # fmt: skip
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "KUBECONFIG": str(site.release.kubeconfig)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _others_by_rbac_alone(site: Site, door: Door, token: str) -> None:
    shop, bank = site.shop.name, site.bank.name
    site.allow(site.bank)
    refused = door.namespaces(token, bank)
    assert isinstance(refused, tuple)
    assert refused[0] == 403
    site.let(site.shop, site.bank)
    door.wait([bank], token, bank)
    assert door.namespaces(token, f"{shop},{bank}") == [bank, shop]
    assert door.namespaces(token) == [shop]
    assert door.get("/debug/tenants", token, "admin")[0] == 403
    site.client.request("POST", _ADMIN, body=_reader_of_pages(site.shop))
    status = 403
    deadline = time.monotonic() + 20
    while status == 403 and time.monotonic() < deadline:
        status, tenants = door.get("/debug/tenants", token, "admin")
    assert {item["namespace"] for item in tenants} == {shop, bank}


def _backends_come_and_go(site: Site, door: Door) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{site.monitoring.name}/endpointslices"
    ready = 'livery_gateway_backend_up{backend="http://10.99.0.9:9090"}'
    body = {
        "metadata": {"name": "replica"}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": 9090}], "endpoints": [{"addresses": ["10.99.0.9"]}],
    }  # fmt: skip
    site.client.request("POST", path, body=body)
    wait_for_text(door.metrics, ready)
    site.client.request("DELETE", f"{path}/replica")
    deadline = time.monotonic() + 20
    while ready in door.metrics():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _reader_of_pages(namespace: Namespace) -> dict[str, Any]:
    """Bind an account to a role that may read everything."""
    return {
        "metadata": {"name": f"pages-{namespace.name}"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace.name}],
    }  # fmt: skip
