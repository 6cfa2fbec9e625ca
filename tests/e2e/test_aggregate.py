"""The aggregate role: from the chart, and from the manifest of metrics-k8s-proxy."""

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, TAG, Cluster, until
from tests.e2e.workloads import deployment

pytestmark = pytest.mark.timeout(600)

SHOP = f"many-{int(time.time())}"
_VALUES = f"""
aggregates:
  - {{name: web, selector: app in (web), namespaces: [{SHOP}]}}
"""
_BARE = """
import signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'http_requests_total{code="200"} 5\\n'
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain; version=0.0.4')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(('', 8080), Handler).serve_forever()
"""
"""The demo's application listens on loopback, where only a proxy in its pod reaches it."""
_SEED = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: metrics-k8s-proxy
spec:
  replicas: 1
  selector:
    matchLabels:
      app: metrics-k8s-proxy
  template:
    metadata:
      labels:
        app: metrics-k8s-proxy
    spec:
      containers:
      - name: metrics-k8s-proxy
        image: {image}
        env:
        - name: POD_LABEL_SELECTOR
          value: "app=web"
        - name: SCRAPE_TIMEOUT
          value: "15s"
        - name: PORT
          value: "15090"
        ports:
        - containerPort: 15090
"""
"""As in its README, except for the image."""


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[str]:
    """A namespace with three pods of `web` behind proxies, and one without."""
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl(
        "label", "namespace", SHOP, "team=frontend", "livery.dev/inject=enabled",
        "pod-security.kubernetes.io/enforce=restricted",
    )  # fmt: skip
    cluster.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "web"))
    cluster.kubectl("-n", SHOP, "scale", "deployment/web", "--replicas=3")
    bare = deployment(SHOP, "bare").replace("app: bare", "app: bare, tier: bare")
    bare = bare.replace("annotations: {", 'annotations: {livery.dev/inject: "false", ')
    bare = re.sub(r"command: .*", lambda _: f"command: {json.dumps(['python', '-c', _BARE])}", bare)
    cluster.kubectl("apply", "-f", "-", stdin=bare)
    for name in ("web", "bare"):
        cluster.kubectl("-n", SHOP, "rollout", "status", f"deployment/{name}", "--timeout=120s")
    (pod,) = cluster.pods(SHOP, "app=bare")
    cluster.kubectl("-n", SHOP, "label", "pod", pod["metadata"]["name"], "app=web", "--overwrite")
    yield SHOP
    # Wait: `livery doctor` in the next tests would report terminating pods.
    cluster.kubectl("delete", "namespace", SHOP, "--timeout=120s")


@pytest.fixture(scope="module")
def aggregate(cluster: Cluster, shop: str) -> Iterator[str]:
    """The name of the pod of the chart's aggregate."""
    with cluster.upgraded(values=_VALUES):
        (pod,) = until(lambda: cluster.pods(NAMESPACE, "livery.dev/aggregate=web"), 60)
        yield pod["metadata"]["name"]


def _lines(text: str, metric: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{metric}{{")]


def _pods(text: str, label: str = "pod") -> list[str]:
    return re.findall(rf'^up{{[^}}]*{label}="([^"]*)"[^}}]*}} 1$', text, re.MULTILINE)


def test_pods_with_and_without_a_proxy_have_each_label_once(
    cluster: Cluster, aggregate: str
) -> None:
    text = until(lambda: _with_pods(cluster, aggregate, 4))

    lines = _lines(text, "http_requests_total")
    assert len({re.search(r'pod="([^"]*)"', line)[1] for line in lines}) == 4  # type: ignore[index]
    assert all(line.count("team=") == 1 for line in lines)
    assert all('team="frontend"' in line for line in lines)
    assert all(f'namespace="{SHOP}"' in line for line in lines)


def _with_pods(cluster: Cluster, aggregate: str, count: int) -> str:
    text = cluster.scrape(NAMESPACE, aggregate, 15090)
    return text if len(_pods(text)) == count else ""


def test_a_label_edit_is_in_the_next_scrape(cluster: Cluster, aggregate: str) -> None:
    cluster.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")

    until(
        lambda: all(
            'team="backend"' in line
            for line in _lines(cluster.scrape(NAMESPACE, aggregate, 15090), "http_requests_total")
        ),
        10,
    )
    cluster.kubectl("label", "namespace", SHOP, "team=frontend", "--overwrite")


def test_a_rolling_update_loses_no_scrape_and_doubles_no_pod(
    cluster: Cluster, aggregate: str
) -> None:
    until(lambda: _with_pods(cluster, aggregate, 4))
    before = {pod["metadata"]["name"] for pod in cluster.pods(SHOP, "app=web,tier!=bare")}
    (bare,) = [pod["metadata"]["name"] for pod in cluster.pods(SHOP, "app=web,tier=bare")]
    cluster.kubectl("-n", SHOP, "rollout", "restart", "deployment/web")
    seen: set[str] = set()
    deadline = time.monotonic() + 120
    while seen & before or len(seen) < 4:
        text = cluster.scrape(NAMESPACE, aggregate, 15090)
        pods = _pods(text)
        assert len(pods) == len(set(pods))
        assert bare in pods  # a pod outside the rollout is never missing
        seen = set(pods)
        assert time.monotonic() < deadline, (before, seen)


def test_doctor_knows_the_aggregate(cluster: Cluster, aggregate: str) -> None:
    def is_well() -> bool:
        cluster.scrape(NAMESPACE, aggregate, 15090)
        return f"aggregate {NAMESPACE}/{aggregate}: 4 targets are scraped" in cluster.doctor()

    until(is_well, 60)
    cluster.kubectl("-n", SHOP, "scale", "deployment/web", "--replicas=0")
    (bare,) = cluster.pods(SHOP, "app=web,tier=bare")
    cluster.kubectl(
        "-n", SHOP, "annotate", "pod", bare["metadata"]["name"], "prometheus.io/scrape=false",
        "--overwrite",
    )  # fmt: skip
    words = f"aggregate {NAMESPACE}/{aggregate} has no pod to scrape; matching pods: 1 without"
    until(lambda: words in cluster.doctor(), 60)
    cluster.kubectl(
        "-n", SHOP, "annotate", "pod", bare["metadata"]["name"], "prometheus.io/scrape=true",
        "--overwrite",
    )  # fmt: skip
    cluster.kubectl("-n", SHOP, "scale", "deployment/web", "--replicas=3")
    cluster.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")


def test_the_manifest_of_metrics_k8s_proxy_runs_as_it_is(cluster: Cluster, shop: str) -> None:
    """In another namespace, whose default account may list pods, as in the original."""
    own = f"{shop}-seed"
    cluster.kubectl("create", "namespace", own)
    cluster.kubectl("create", "clusterrole", own, "--verb=list,watch", "--resource=pods")
    account = f"--serviceaccount={own}:default"
    cluster.kubectl("create", "clusterrolebinding", own, f"--clusterrole={own}", account)
    try:
        image = f"localhost/livery-sidecar:{TAG}"
        cluster.kubectl("-n", own, "apply", "-f", "-", stdin=_SEED.format(image=image))
        status = ("rollout", "status", "deployment/metrics-k8s-proxy", "--timeout=120s")
        cluster.kubectl("-n", own, *status)
        (pod,) = cluster.pods(own, "app=metrics-k8s-proxy")
        name = pod["metadata"]["name"]

        def text() -> str:
            found = cluster.scrape(own, name, 15090)
            return found if len(_pods(found, "k8s_pod_name")) == 4 else ""

        found = until(text, 90)
        lines = _lines(found, "http_requests_total")
        assert lines
        assert all(f'k8s_namespace="{shop}"' in line for line in lines)
        assert not any(' namespace="' in line for line in lines)
        shown = cluster.kubectl(
            "get", "--raw", f"/api/v1/namespaces/{own}/pods/{name}:15091/proxy/targets"
        )
        assert len(json.loads(shown)["targets"]) == 4
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", own)
        cluster.kubectl("delete", "namespace", own, "--wait=false")
