"""Values that users look for first reach the objects that they configure."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real_parts.kubernetes import helm_program
from tests.real_parts.presence import have

CHART = Path(__file__).parent.parent.parent / "charts" / "livery"
_RULES: list[dict[str, Any]] = [{"action": "labeldrop", "regex": "endpoint"}]
_VALUES: dict[str, Any] = {
    "global": {"imageRegistry": "registry.example/mirror"},
    "commonLabels": {"cost-center": "4711"},
    "injector": {
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "serviceAccount": {"annotations": {"a": "b"}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "zone"}],
    },
    "node": {
        "enabled": True,
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "priorityClassName": "system-node-critical",
    },
    "monitoring": {
        kind: {
            "enabled": True,
            "scrapeTimeout": "5s",
            "relabelings": _RULES,
            "metricRelabelings": _RULES,
        }
        for kind in ("serviceMonitor", "podMonitor")
    },
}


def _template(values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    given = {"image": {"registry": "localhost"}, **values}
    return subprocess.run(
        [have(helm_program), "template", "livery", CHART, "--values", "-"],
        input=json.dumps(given), capture_output=True, text=True, check=False,
    )  # fmt: skip


def _objects(**values: Any) -> dict[tuple[str, str], Any]:
    ran = _template(values)
    assert ran.returncode == 0, ran.stderr
    found = [item for item in yaml.safe_load_all(ran.stdout) if item]
    return {(item["kind"], item["metadata"]["name"]): item for item in found}


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], Any]:
    return _objects(**_VALUES)


def test_every_object_and_pod_has_the_common_labels(objects: dict[tuple[str, str], Any]) -> None:
    hooks = [name for name in objects if name[0] == "Pod"]
    without = [
        name
        for name, item in objects.items()
        if name not in hooks and item["metadata"].get("labels", {}).get("cost-center") != "4711"
    ]
    pods = [
        item["spec"]["template"] for item in objects.values() if "template" in item.get("spec", {})
    ]

    assert without == []
    assert pods
    assert all(pod["metadata"]["labels"]["cost-center"] == "4711" for pod in pods)


def test_a_parent_chart_s_registry_is_that_of_all_images(
    objects: dict[tuple[str, str], Any],
) -> None:
    images = [
        container["image"]
        for item in objects.values()
        for container in item.get("spec", {})
        .get("template", {})
        .get("spec", {})
        .get("containers", [])
    ]

    assert images
    assert all(image.startswith("registry.example/mirror/livery-") for image in images)


def test_the_injector_s_pod_is_as_its_values_say(objects: dict[tuple[str, str], Any]) -> None:
    pod = objects["Deployment", "livery-injector"]["spec"]["template"]["spec"]

    assert pod["containers"][0]["args"][-1] == "--log-level=debug"
    assert pod["containers"][0]["env"] == [{"name": "TZ", "value": "UTC"}]
    assert pod["topologySpreadConstraints"] == [{"maxSkew": 2, "topologyKey": "zone"}]
    account = objects["ServiceAccount", "livery-injector"]
    assert account["metadata"]["annotations"] == {"a": "b"}


def test_node_proxies_are_as_their_values_say(objects: dict[tuple[str, str], Any]) -> None:
    pod = objects["DaemonSet", "livery-node"]["spec"]["template"]

    assert pod["metadata"]["annotations"]["a"] == "b"
    assert pod["metadata"]["labels"]["c"] == "d"
    assert pod["spec"]["priorityClassName"] == "system-node-critical"


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("ServiceMonitor", "livery-injector", "endpoints"),
        ("PodMonitor", "livery-workloads", "podMetricsEndpoints"),
    ],
)
def test_monitors_take_timeouts_and_rules(
    objects: dict[tuple[str, str], Any], kind: str, name: str, field: str
) -> None:
    for endpoint in objects[kind, name]["spec"][field]:
        assert endpoint["scrapeTimeout"] == "5s"
        assert endpoint["metricRelabelings"] == _RULES
        assert endpoint["relabelings"][-1:] == _RULES


@pytest.mark.parametrize(
    "name", ["app.kubernetes.io/name", "app.kubernetes.io/component", "livery.dev/proxy"]
)
def test_labels_by_which_livery_finds_its_own_are_not_the_user_s(name: str) -> None:
    ran = _template({"commonLabels": {name: "x"}})

    assert ran.returncode != 0
    assert f"invalid propertyName '{name}'" in ran.stderr


def test_without_a_registry_a_sentence_says_what_to_do() -> None:
    ran = _template({"image": {"registry": ""}})

    assert ran.returncode != 0
    assert "image.registry is not set: push both images with `make images push" in ran.stderr


def test_a_name_of_one_s_own_is_that_of_every_object() -> None:
    objects = _objects(fullnameOverride="colours")

    assert ("Deployment", "colours-injector") in objects
    assert all(
        name.startswith("colours") or kind == "CustomResourceDefinition"
        for kind, name in objects
        if kind != "Pod"
    )


def test_a_service_account_of_one_s_own_gets_the_rights_and_is_not_created() -> None:
    account = {"create": False, "name": "given", "annotations": {}}
    objects = _objects(injector={"serviceAccount": account})
    bindings = [item for (kind, _), item in objects.items() if kind.endswith("RoleBinding")]
    subjects = [subject["name"] for item in bindings for subject in item["subjects"]]

    assert ("ServiceAccount", "livery-injector") not in objects
    pod = objects["Deployment", "livery-injector"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "given"
    assert len(bindings) > 1
    assert "livery-injector" not in subjects
    assert "given" in subjects


def test_the_injector_runs_in_the_node_s_network_where_that_is_wanted() -> None:
    pod = _objects(injector={"hostNetwork": True})["Deployment", "livery-injector"]
    spec = pod["spec"]["template"]["spec"]

    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


@pytest.mark.parametrize(
    ("mode", "kind", "name"),
    [
        ("webhook", "MutatingWebhookConfiguration", "livery"),
        ("policy", "MutatingAdmissionPolicy", "livery"),
    ],
)
def test_selectors_narrow_what_is_injected(mode: str, kind: str, name: str) -> None:
    expression = {"key": "tier", "operator": "NotIn", "values": ["system"]}
    objects = _objects(
        injection={"mode": mode},
        webhook={
            "namespaceSelector": {"matchLabels": {"env": "prod"}, "matchExpressions": [expression]},
            "objectSelector": {"matchLabels": {"metrics": "yes"}},
        },
    )
    found = objects[kind, name]
    where = found["webhooks"][0] if mode == "webhook" else found["spec"]["matchConstraints"]

    labels = where["namespaceSelector"]["matchLabels"]
    assert labels == {"livery.dev/inject": "enabled", "env": "prod"}
    assert where["namespaceSelector"]["matchExpressions"][1:] == [expression]
    assert where["objectSelector"] == {"matchLabels": {"metrics": "yes"}}


def test_alerts_link_to_their_runbooks_where_an_address_is_given() -> None:
    base = "https://docs.example/troubleshooting.md"
    rule = {"enabled": True, "labels": {}, "runbookUrl": base}
    objects = _objects(monitoring={"prometheusRule": rule})
    alerts = [
        item
        for group in objects["PrometheusRule", "livery"]["spec"]["groups"]
        for item in group["rules"]
        if "alert" in item
    ]

    assert len(alerts) > 20
    for item in alerts:
        assert item["annotations"]["runbook_url"] == f"{base}#{item['alert'].lower()}"


def test_without_an_address_alerts_link_nowhere() -> None:
    text = _template({"monitoring": {"prometheusRule": {"enabled": True}}}).stdout

    assert "LiveryTargetDown" in text
    assert "runbook_url" not in text
