"""Every command that `livery doctor` prints, run as printed, fixes a broken installation."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import NAMESPACE, ROOT, TAG, Cluster, until
from tests.e2e.workloads import deployment
from tests.real_parts.kubernetes import helm_program

pytestmark = pytest.mark.timeout(600)

SHOP = f"broken-{int(time.time())}"
_BARE = f"""\
apiVersion: v1
kind: Pod
metadata:
  name: bare
  namespace: {SHOP}
  annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "8080"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: localhost/livery-injector:{TAG}
    imagePullPolicy: IfNotPresent
    command: [python, -m, injector.commands.demo.app, --port, "8080"]
"""


class Finding(NamedTuple):
    """A printed problem, and the command printed with it."""

    sentence: str
    remedy: str


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[Cluster]:
    """A tenant's namespace with a Deployment and a bare pod, both with proxies."""
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl("label", "namespace", SHOP, "livery.dev/inject=enabled", "team=frontend")
    cluster.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "web"))
    cluster.kubectl("apply", "-f", "-", stdin=_BARE)
    cluster.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    cluster.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "pod/bare", "--timeout=60s")
    yield cluster
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run a printed command in a shell, as a user of this checkout would."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "helm").symlink_to(Path(helm_program()))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(command: str) -> str:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        return ran.stdout + ran.stderr

    return run


def _problems(cluster: Cluster) -> list[Finding]:
    found = re.findall(r"^!!  (.*)\n(?:      (.*)\n)?", cluster.doctor(), re.MULTILINE)
    return [Finding(*item) for item in found]


def _find(cluster: Cluster, sentence: str, seconds: float = 60.0) -> Finding:
    """Wait until a problem is printed; returns it."""
    found: Finding = until(
        lambda: next((item for item in _problems(cluster) if re.search(sentence, item[0])), None),
        seconds,
    )
    return found


def _mend(cluster: Cluster, run: Callable[[str], str], sentence: str) -> str:
    """Run the command printed with a problem, and wait until it is gone; returns the command."""
    remedy = _find(cluster, sentence).remedy
    run(remedy)
    until(lambda: not any(re.search(sentence, item.sentence) for item in _problems(cluster)))
    return remedy


def _values(cluster: Cluster) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        cluster.helm("get", "values", "livery", "--output", "json")
    )
    return found


def test_an_injector_scaled_to_none_is_scaled_up(shop: Cluster, run: Callable[[str], str]) -> None:
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=0")

    assert "scale" in _mend(shop, run, "0 of 0 injectors are ready")


def test_an_injector_that_cannot_start_says_why_and_its_log_can_be_read(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    patch = '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--wrong"}]'
    command = ("-n", NAMESPACE, "patch", "deployment/livery-injector", "--type=json", "-p", patch)
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=0")
    shop.kubectl(*command)
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=1")
    problem = _find(shop, "0 of 1 injectors are ready: CrashLoopBackOff")
    # A container that has just been started again has no log yet.
    until(lambda: "--wrong" in run(problem.remedy))
    shop.kubectl("-n", NAMESPACE, "rollout", "undo", "deployment/livery-injector")
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=2")
    shop.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/livery-injector")


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("mutatingwebhookconfiguration/livery", "the webhook's configuration is missing"),
        (
            "clusterrolebinding/livery-injector",
            "the injector is not allowed to (watch|create|patch|get) ",
        ),
        ("crd/metricaccesses.observability.ethos.io", "the MetricAccess CRD is not installed"),
    ],
)
def test_what_was_deleted_is_put_back_and_the_users_values_stay(
    shop: Cluster, run: Callable[[str], str], gone: str, sentence: str
) -> None:
    before = _values(shop)
    shop.kubectl("delete", gone)
    _mend(shop, run, sentence)
    after = _values(shop)
    after.pop("crds", None)

    assert after == before


def test_an_account_that_is_granted_something_is_made(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    with shop.upgraded(f"control.grants.exporters={{{SHOP}/ghost}}"):
        _mend(shop, run, f"{SHOP}/ghost has a grant but does not exist")


def test_a_pod_that_was_made_without_a_proxy_gets_one(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    shop.kubectl("label", "namespace", SHOP, "livery.dev/inject-")
    shop.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "late"))
    shop.kubectl("-n", SHOP, "rollout", "status", "deployment/late", "--timeout=120s")
    shop.kubectl("label", "namespace", SHOP, "livery.dev/inject=enabled")

    _mend(shop, run, "1 pod of deployment/late without a proxy")


def test_a_bare_pod_that_was_applied_again_is_led_back_to_its_proxy(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    shop.kubectl("apply", "-f", "-", stdin=_BARE)
    _mend(shop, run, f"{SHOP}/bare: its annotations make Prometheus bypass its proxy")
    pod = shop.get("pod", "bare", "-n", SHOP)

    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "16090"


def test_an_image_that_cannot_be_pulled_is_named_before_any_restart(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    upgrade = ("upgrade", "livery", "charts/livery", "--reset-then-reuse-values")
    shop.helm(*upgrade, "--set", "sidecar.image.tag=nope")
    try:
        problem = _find(shop, r"\d+ nodes? cannot pull the proxy's image")
        assert "nope" in run(problem.remedy)
        others = [item for item in _problems(shop) if SHOP in item.sentence]
        assert others
        assert not any("restart" in item.remedy for item in others)
    finally:
        shop.helm(*upgrade, "--set", f"sidecar.image.tag={TAG}", "--wait")


def test_each_replica_knows_the_proxies_of_the_other(shop: Cluster) -> None:
    shop.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/livery-injector")
    pages = "import urllib.request as u; print(u.urlopen('http://localhost:8080/').read().decode())"
    selector = "app.kubernetes.io/component=injector"
    proxies = [pod["metadata"]["name"] for pod in shop.pods(SHOP, "app")] + ["bare"]

    def shown(replica: str) -> bool:
        page = shop.kubectl("-n", NAMESPACE, "exec", replica, "--", "python", "-c", pages)
        return all(f"w-{SHOP}/{name}" in page for name in proxies)

    replicas = [pod["metadata"]["name"] for pod in shop.pods(NAMESPACE, selector)]
    assert len(replicas) == 2
    for replica in replicas:
        until(partial(shown, replica), 60)


def test_proxies_that_trust_a_ca_that_is_gone_are_found_and_mended(
    shop: Cluster, run: Callable[[str], str]
) -> None:
    # While no injector runs: a running one would send the next CA to its proxies.
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=0")
    selector = "app.kubernetes.io/component=injector"
    shop.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", selector, "--timeout=60s")
    shop.kubectl("-n", NAMESPACE, "delete", "secret", "livery-ca")
    shop.kubectl("-n", NAMESPACE, "scale", "deployment/livery-injector", "--replicas=2")
    shop.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/livery-injector")
    # The injector counts them only after two minutes; tests/injector/kube/objects and
    # tests/injector/kube/doctor test that without the wait.
    _mend(shop, run, "of deployment/web trusting only a CA that is gone")
