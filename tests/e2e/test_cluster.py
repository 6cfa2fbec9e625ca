"""The README's promises, on a real cluster, in the order of a user's steps."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, TAG, Cluster, until
from tests.e2e.workloads import WORKLOAD, deployment

SHOP = f"shop-{int(time.time())}"


def _job(name: str) -> str:
    return WORKLOAD.format(
        version="batch/v1", kind="Job", name=name, namespace=SHOP, tag=TAG, selector="",
        restart="restartPolicy: Never",
        command=json.dumps(["python", "-c", "import time; time.sleep(1)"]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[Cluster]:
    """A tenant's restricted namespace with injection enabled."""
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl(
        "label", "namespace", SHOP, "livery.dev/inject=enabled", "team=frontend",
        "pod-security.kubernetes.io/enforce=restricted",
    )  # fmt: skip
    yield cluster
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")


@pytest.fixture(scope="module")
def web(shop: Cluster) -> str:
    """A running pod of a Deployment, with its proxy."""
    shop.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "web"))
    shop.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    (pod,) = shop.pods(SHOP, "app=web")
    assert [item["name"] for item in pod["spec"]["initContainers"]] == ["livery-proxy"]
    return str(pod["metadata"]["name"])


def test_helms_own_test_passes(cluster: Cluster) -> None:
    assert "Phase:          Succeeded" in cluster.helm("test", "livery")


def test_a_workload_wears_its_team_and_the_next_one_after_an_edit(shop: Cluster, web: str) -> None:
    # Its container has no probe: it is ready a moment before it listens.
    until(lambda: 'team="frontend"' in shop.scrape(SHOP, web), 10)
    started = time.monotonic()
    shop.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")
    until(lambda: 'team="backend"' in shop.scrape(SHOP, web), 20)
    print(f"an edit was seen after {time.monotonic() - started:.2f} s, kubectl exec included")


def test_the_injector_is_small(cluster: Cluster) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/services/livery-injector:9090/proxy/metrics"
    metrics = cluster.kubectl("get", "--raw", path)
    line = next(item for item in metrics.splitlines() if item.startswith("process_resident"))
    print(f"the injector takes {float(line.split()[1]) / 1e6:.0f} MB")
    assert "livery_world_problems 0.0" in metrics


def test_the_proxy_has_its_policy_by_the_stream(shop: Cluster, web: str) -> None:
    until(lambda: "livery_proxy_control_connected 1" in shop.scrape(SHOP, web, 16091))


def test_logs_and_exec_mean_the_applications_container(shop: Cluster, web: str) -> None:
    assert shop.kubectl("logs", "-n", SHOP, web).strip() == "8080"


@pytest.mark.parametrize("container", ["web", "livery-proxy"])
def test_nothing_can_be_installed_into_an_image(shop: Cluster, web: str, container: str) -> None:
    for module in ("pip", "ensurepip"):
        with pytest.raises(AssertionError, match="No module named"):
            shop.kubectl("exec", "-n", SHOP, web, "-c", container, "--", "python", "-m", module)


def test_the_doctor_finds_all_well(shop: Cluster, web: str) -> None:
    said = shop.livery("doctor")
    assert "2 of 2 injectors are ready" in said
    assert f"{SHOP}: 1 pod has a proxy" in said
    assert "No problem found." in said


def test_a_job_with_a_proxy_completes(shop: Cluster) -> None:
    shop.kubectl("apply", "-f", "-", stdin=_job("once"))
    shop.kubectl("-n", SHOP, "wait", "--for=condition=complete", "job/once", "--timeout=120s")
    (pod,) = shop.pods(SHOP, "app=once")
    (proxy,) = pod["status"]["initContainerStatuses"]
    assert proxy["name"] == "livery-proxy"
    # It ended on SIGTERM: a container that the kubelet had to kill exits with 137.
    assert proxy["state"]["terminated"]["exitCode"] == 0


def test_a_metric_access_object_says_its_status(shop: Cluster) -> None:
    rules = {
        "apiVersion": "observability.ethos.io/v1alpha1", "kind": "MetricAccess",
        "metadata": {"name": "rules", "namespace": SHOP},
        "spec": {"metrics": ["up"], "metricIsolation": True},
    }  # fmt: skip
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(rules))
    shop.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "ma/rules", "--timeout=60s")


def test_without_an_injector_pods_start_and_proxies_go_on(shop: Cluster, web: str) -> None:
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=0")
    selector = "app.kubernetes.io/component=injector"
    # Terminating pods still answer for a while: wait until none is left.
    until(lambda: not shop.get("pods", "-n", NAMESPACE, "-l", selector)["items"])
    try:
        shop.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "lonely"))
        shop.kubectl("-n", SHOP, "rollout", "status", "deployment/lonely", "--timeout=90s")
        (pod,) = shop.pods(SHOP, "app=lonely")
        assert "initContainers" not in pod["spec"]
        assert 'team="backend"' in shop.scrape(SHOP, web)
    finally:
        shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=2")
        shop.kubectl(
            "-n", NAMESPACE, "rollout", "status", "deployment/livery-injector", "--timeout=90s"
        )
    shop.kubectl("label", "namespace", SHOP, "team=platform", "--overwrite")
    until(lambda: 'team="platform"' in shop.scrape(SHOP, web), 60)
