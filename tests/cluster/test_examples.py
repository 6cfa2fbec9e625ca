"""The examples for scraping node proxies, checked by the programs that read them."""

import subprocess
from pathlib import Path

import yaml

from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Namespace
from tests.real_parts.presence import have
from tests.real_parts.prometheus import promtool_program

EXAMPLES = Path(__file__).parents[2] / "examples" / "node"


def test_prometheus_reads_the_jobs_and_they_honor_labels() -> None:
    path = EXAMPLES / "scrape-jobs.yaml"
    command = [str(have(promtool_program)), "check", "config", "--syntax-only", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    jobs = yaml.safe_load(path.read_text())["scrape_configs"]
    assert all(job["honor_labels"] and job["authorization"] for job in jobs)


def test_the_alerts_are_rules_that_prometheus_reads() -> None:
    path = EXAMPLES.parent / "alerting" / "alerts.yaml"
    command = [str(have(promtool_program)), "check", "rules", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_api_server_takes_what_it_knows_of_the_monitors_and_the_rest_selects_node_proxies(
    client: KubeClient, namespace: Namespace
) -> None:
    strict = {"dryRun": "All", "fieldValidation": "Strict"}
    paths = {
        "ServiceAccount": f"{namespace.path}/serviceaccounts",
        "Secret": f"{namespace.path}/secrets",
        "Service": f"{namespace.path}/services",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    }
    for document in yaml.safe_load_all((EXAMPLES / "monitors.yaml").read_text()):
        document["metadata"].pop("namespace", None)
        if document["kind"] in paths:
            client.request("POST", paths[document["kind"]], query=strict, body=document)
        elif document["kind"] == "PodMonitor":
            assert document["spec"]["selector"]["matchLabels"]["livery.dev/proxy"] == "node"
