"""The chart's gateway for two replicas of Prometheus, queried by pods with their own tokens."""

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import NAMESPACE, Cluster, until
from tests.e2e.prometheus import prometheus_manifest
from tests.e2e.workloads import deployment

pytestmark = pytest.mark.timeout(600)

_STAMP = int(time.time())
SHOP, BANK, MONITORING = f"gwshop-{_STAMP}", f"gwbank-{_STAMP}", f"gwmon-{_STAMP}"
_RULES = """\
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {{name: web, namespace: {namespace}}}
spec: {{metrics: [up, http_requests_total], metricIsolation: true}}
"""
# What Grafana's data source does: queries by POST with a form, everything else by GET.
_CLIENT = """\
import json, sys, time, urllib.error, urllib.parse, urllib.request
url, token, pairs, seconds = json.loads(sys.argv[1])
ends, said = time.monotonic() + seconds, []
while True:
    form = urllib.parse.urlencode(list(map(tuple, pairs))).encode() if pairs else None
    request = urllib.request.Request(url, form, {"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            said.append([answer.status, json.load(answer)["data"]])
    except urllib.error.HTTPError as error:
        said.append([error.code, error.read().decode()])
    if time.monotonic() >= ends:
        break
    time.sleep(0.02)
print(json.dumps(said))
"""


class Tenants:
    """Two tenants' pods, and their requests to the gateway."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def token(self, namespace: str, account: str = "default", audience: str = "") -> str:
        """Make a token, as `kubectl create token` does for a data source."""
        audience = audience or "livery-gateway"
        command = ("create", "token", account, "-n", namespace, "--audience", audience)
        return self.cluster.kubectl(*command, "--duration", "1h").strip()

    def ask(
        self, token: str, path: str, *pairs: tuple[str, str], seconds: float = 0
    ) -> list[tuple[int, Any]]:
        """Send requests from the shop's pod for this many seconds; returns every answer."""
        (pod,) = self.cluster.pods(SHOP, "app=web")
        url = f"http://livery-gateway.{NAMESPACE}.svc:8080{path}"
        given = json.dumps([url, token, pairs, seconds])
        command = ("exec", "-i", "-n", SHOP, pod["metadata"]["name"], "-c", "web", "--")
        answer = self.cluster.kubectl(*command, "python", "-", given, stdin=_CLIENT)
        return [(status, data) for status, data in json.loads(answer)]

    def series(self, token: str, query: str) -> list[dict[str, str]]:
        """Return the labels of the series that a query finds."""
        ((status, data),) = self.ask(token, "/api/v1/query", ("query", query))
        assert status == 200, data
        return [item["metric"] for item in data["result"]]

    def namespaces(self, token: str) -> set[str]:
        """Return the namespaces whose requests the token's owner sees."""
        return {item["namespace"] for item in self.series(token, "http_requests_total")}


@pytest.fixture(scope="module")
def tenants(cluster: Cluster, prometheus_image: str) -> Iterator[Tenants]:
    """Two tenants with rules, and the chart's gateway for two replicas of Prometheus."""
    for name, team in ((SHOP, "frontend"), (BANK, "payments")):
        cluster.kubectl("create", "namespace", name)
        labels = ("livery.dev/inject=enabled", f"team={team}")
        cluster.kubectl("label", "namespace", name, *labels)
        cluster.kubectl("apply", "-f", "-", stdin=deployment(name, "web"))
        cluster.kubectl("apply", "-f", "-", stdin=_RULES.format(namespace=name))
    cluster.kubectl("create", "namespace", MONITORING)
    manifest = prometheus_manifest(MONITORING, prometheus_image, (SHOP, BANK), replicas=2)
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    found = "gateway.backends.discovery[0]"
    settings = (
        "gateway.enabled=true", f"{found}.kind=EndpointSlice",
        f"{found}.namespaces[0]={MONITORING}",
        f"{found}.labelSelector=kubernetes.io/service-name=prometheus",
        "labels.protected={team,namespace,pod}",
    )  # fmt: skip
    with cluster.upgraded(*settings):
        for name in (SHOP, BANK):
            cluster.kubectl("-n", name, "rollout", "status", "deployment/web", "--timeout=120s")
        status = ("rollout", "status", "statefulset/prometheus", "--timeout=120s")
        cluster.kubectl("-n", MONITORING, *status)
        yield Tenants(cluster)
    for name in (SHOP, BANK, MONITORING):
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def token(tenants: Tenants) -> str:
    """A token of the shop's own account."""
    return tenants.token(SHOP)


def test_each_tenant_asks_with_its_own_token_and_sees_its_own(tenants: Tenants, token: str) -> None:
    until(lambda: tenants.namespaces(token) == {SHOP})
    until(lambda: tenants.namespaces(tenants.token(BANK)) == {BANK})
    for audience in ("livery-control", "https://kubernetes.default.svc.cluster.local"):
        other = tenants.token(SHOP, audience=audience)
        ((status, _),) = tenants.ask(other, "/api/v1/query?query=up")
        assert status == 401, audience
    ((status, data),) = tenants.ask(token, "/api/v1/label/namespace/values")
    assert (status, data) == (200, [SHOP])
    ((status, _),) = tenants.ask(token, "/api/v1/query?query=up&namespace=" + BANK)
    assert status == 403


@pytest.fixture(scope="module")
def revoked(tenants: Tenants, token: str) -> str:
    """A token that the gateway has accepted, and whose account is deleted."""
    tenants.cluster.kubectl("create", "serviceaccount", "guest", "-n", SHOP)
    guest = tenants.token(SHOP, "guest")
    assert tenants.namespaces(guest) == {SHOP}
    tenants.cluster.kubectl("delete", "serviceaccount", "guest", "-n", SHOP)
    return guest


def test_a_namespace_that_changes_hands_is_seen_by_its_team(
    tenants: Tenants, token: str, revoked: str
) -> None:
    tenants.cluster.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")

    until(lambda: tenants.series(token, 'http_requests_total{team="backend"}'))


def test_a_replica_that_is_killed_under_load_fails_no_query(tenants: Tenants, token: str) -> None:
    said: list[tuple[int, Any]] = []

    def load() -> None:
        said.extend(tenants.ask(token, "/api/v1/query", ("query", "up"), seconds=12))

    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(3)
    kill = ("delete", "pod", "prometheus-0", "--force", "--grace-period=0")
    tenants.cluster.kubectl("-n", MONITORING, *kill)
    loading.join(120)
    failed = [answer for answer in said if answer[0] != 200]

    print(f"{len(said)} queries while a replica was killed")
    assert len(said) > 50
    assert failed == []


def test_the_doctor_knows_the_gateway(tenants: Tenants) -> None:
    def finds_all_up() -> bool:
        said = tenants.cluster.doctor()
        assert re.search(r"[0-9]+ tenants, 2 of 2 Prometheus up", said), said
        return True

    until(finds_all_up, 120)


def test_what_a_query_becomes_is_explained(tenants: Tenants) -> None:
    said = tenants.cluster.livery("explain", "query", "-n", SHOP, "up")

    assert f'sent     up{{namespace=~"{SHOP}"}}' in said


def test_a_rule_that_is_deleted_takes_its_series_along(tenants: Tenants, token: str) -> None:
    tenants.cluster.kubectl("delete", "metricaccess", "web", "-n", SHOP)
    time.sleep(2)

    assert tenants.series(token, "http_requests_total") == []


def test_a_token_whose_account_is_gone_is_refused_within_a_minute(
    tenants: Tenants, revoked: str
) -> None:
    until(lambda: tenants.ask(revoked, "/api/v1/query?query=up")[0][0] == 401, 90)
