"""`livery doctor` on a real API server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from kubernetes.client import Configuration
from webhook_certs.authority import create_authority
from webhook_certs.rotation import Rotation

from injector.commands.inputs import parse_platform_text
from injector.errors import KubeError
from injector.kube.api.client import MERGE, KubeClient
from injector.kube.certificates.published import WebhookBundle
from injector.kube.certificates.secrets import SecretStore
from injector.kube.doctor import pods
from injector.kube.doctor.examine import examine
from injector.kube.doctor.findings import Finding, Installation, find
from tests.cluster.fixtures import Namespace, Release, installed_chart, make_namespace, until
from tests.real_parts.kubernetes import ApiServer

MONITORS = "monitoring.coreos.com/v1"


def _examine(client: KubeClient, release: Release) -> dict[str, Finding]:
    installation = Installation(release.own.name, release.name, parse_platform_text)
    return {finding.sentence: finding for finding in examine(client, installation)}


def _problems(found: dict[str, Finding]) -> set[str]:
    return {sentence for sentence, finding in found.items() if not finding.is_well}


def _problems_of_its_own(found: dict[str, Finding]) -> set[str]:
    """Leave out the namespaces of other tests, in which injection is still enabled."""
    return {text for text in _problems(found) if not re.match(r"[a-z]+-\d+-[a-z0-9]{5}: ", text)}


def test_nothing_installed_is_said_with_the_command_that_installs(client: KubeClient) -> None:
    server, absent = examine(client, Installation("nowhere", "livery", parse_platform_text))

    assert server.is_well
    assert absent.sentence == "Livery is not installed in namespace nowhere, release livery"
    assert "helm install livery charts/livery -n nowhere" in absent.remedy
    assert "--set image.registry=" in absent.remedy


def test_an_installation_under_another_name_is_found(client: KubeClient, release: Release) -> None:
    _, absent = examine(client, Installation("nowhere", "livery", parse_platform_text))

    own = release.own.name
    assert absent.sentence.endswith(f"it is in {own}, release {release.name}")
    assert absent.remedy == f"livery doctor -n {own} --release {release.name}"


def test_a_new_installation_lacks_what_its_injector_does(
    client: KubeClient, release: Release
) -> None:
    found = _examine(client, release)
    own = _problems_of_its_own(found)
    assert own == {"0 of 2 injectors are ready", "the injector has not created a CA yet"}
    store = SecretStore(client, release.own.name, f"{release.name}-ca")
    bundle = Rotation(store, ["livery"]).issue(datetime.now(UTC)).bundle_pem
    lacks = "the webhook's configuration lacks the CA of the injector's certificate"
    assert lacks in _problems(_examine(client, release))
    WebhookBundle(client, release.name).publish(bundle)

    assert _problems_of_its_own(_examine(client, release)) == {"0 of 2 injectors are ready"}


def test_pods_without_a_proxy_are_named_with_what_restarts_them(
    client: KubeClient, release: Release
) -> None:
    shop = make_namespace(client, "shop")
    asks = {"prometheus.io/scrape": "true"}
    _owned_pod(shop, "web-5d4-abc", "ReplicaSet", "web-5d4", asks)
    _owned_pod(shop, "db-0", "StatefulSet", "db", asks)
    _owned_pod(shop, "quiet-0", "StatefulSet", "quiet", {})
    shop.pod("alone", **asks)
    # Labelled afterwards: the pods were created before injection was enabled.
    shop.label(**{"livery.dev/inject": "enabled"})
    found = _examine(client, release)

    def remedy(owner: str) -> str:
        return found[f"{shop.name}: 1 pod of {owner} without a proxy"].remedy

    assert remedy("deployment/web") == f"kubectl -n {shop.name} rollout restart deployment/web"
    assert remedy("statefulset/db") == f"kubectl -n {shop.name} rollout restart statefulset/db"
    assert "delete pod/alone" in remedy("pod/alone")
    assert not any("quiet" in sentence for sentence in found)
    shop.label(**{"livery.dev/inject": None})


def test_where_the_api_server_does_not_answer_nothing_more_is_asked() -> None:
    away = KubeClient(Configuration(host="https://127.0.0.1:1"))
    findings = examine(away, Installation("livery-system", "livery", parse_platform_text))
    with pytest.raises(KubeError, match="/version"):
        next(findings)


def test_a_new_pod_is_tried_and_what_stands_in_its_way_is_named(
    api_server: ApiServer, client: KubeClient
) -> None:
    asks = {"livery.dev/inject": "enabled"}
    with installed_chart(api_server, client, "--set", "injection.mode=policy") as release:
        good, tight = [make_namespace(client, "shop", asks) for _ in range(2)]
        hard = {"limits.cpu": "10m"}
        quota = tight.create("resourcequotas", "small", spec={"hard": hard})
        path = f"{tight.path}/resourcequotas/small/status"
        client.request(
            "PUT", path, body={**quota, "status": {"hard": hard, "used": {"limits.cpu": "5m"}}}
        )
        until(lambda: f"{good.name}: a new pod gets its proxy" in _examine(client, release))
        found = _examine(client, release)
        problems = _problems(found)
        (refused,) = [text for text in problems if f"{tight.name}: a new pod is rejected" in text]
        assert "exceeded quota: small" in refused
        (full,) = [text for text in problems if f"{tight.name}: quota small" in text]
        assert "has 5m of 10m limits.cpu in use; a proxy needs 500m" in full
        assert "livery.dev/cpu-limit" in found[full].remedy
        assert any(
            "the admission policy's Secret lacks the CA" in text for text in problems
        )  # no injector publishes it here
        for namespace in (good, tight):
            namespace.label(**{"livery.dev/inject": None})


def test_policies_and_monitors_in_the_proxies_way_are_named(
    api_server: ApiServer, client: KubeClient
) -> None:
    shop = make_namespace(client, "shop")
    with installed_chart(api_server, client, "--set", "injection.mode=policy") as release:
        shop.label(**{"livery.dev/inject": "enabled"})
        until(lambda: _injected(shop))
        _create(shop, "networking.k8s.io/v1", "networkpolicies", "deny", {"podSelector": {}})
        egress = {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"port": 53}]}],
        }
        _create(shop, "networking.k8s.io/v1", "networkpolicies", "dns", egress)
        with _monitors(client):
            selector = {"matchLabels": {"app": "web"}}
            port = {"port": 80, "targetPort": 8080, "name": "http"}
            service = {"selector": {"app": "web"}, "ports": [port]}
            shop.create("services", "web", metadata={"labels": {"app": "web"}}, spec=service)
            past = {"selector": selector, "endpoints": [{"port": "http"}]}
            _create(shop, MONITORS, "servicemonitors", "past", past)
            pods = {"selector": selector, "podMetricsEndpoints": [{"port": "http"}]}
            _create(shop, MONITORS, "podmonitors", "past", pods)
            ours = [{"port": "livery"}, {"portNumber": 16090}, {"port": "none"}]
            good = {"selector": selector, "podMetricsEndpoints": ours}
            _create(shop, MONITORS, "podmonitors", "good", good)
            problems = _problems(_examine(client, release))
        name = shop.name
        text = " ".join(problems)
        bypasses = "scrapes injected pods and bypasses their proxies"
        assert f"{name}: NetworkPolicies block all scrapes of the proxy of web-" in text
        assert re.search(f"{name}: NetworkPolicies block web-[a-z0-9]+ from the control", text)
        assert f"ServiceMonitor {name}/past {bypasses}" in problems
        assert f"PodMonitor {name}/past {bypasses}" in problems
        assert f"{name}/good" not in text
        shop.label(**{"livery.dev/inject": None})


def test_rights_that_are_missing_are_named(api_server: ApiServer, client: KubeClient) -> None:
    shop = make_namespace(client, "shop")
    grants = ("control.grants.nodes", "control.grants.exporters")
    sets = [part for key in grants for part in ("--set", f"{key}={{{shop.name}/node}}")]
    with installed_chart(api_server, client, *sets) as release:
        problems = _problems(_examine(client, release))
        assert f"{shop.name}/node has a grant but does not exist" in problems
        assert f"{shop.name}/node is not allowed to get nodes/metrics" in problems
        path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{release.name}-injector"
        client.request("PATCH", path, body={"rules": []}, content_type=MERGE)
        lacking = "the injector is not allowed to watch pods"
        until(lambda: lacking in _problems(_examine(client, release)))
        problems = _problems(_examine(client, release))
        assert "the injector is not allowed to create subjectaccessreviews" in problems


@pytest.mark.parametrize("mode", ["daemonset", "deployment"])
def test_node_proxies_that_are_not_ready_or_may_too_little_are_named(
    api_server: ApiServer, client: KubeClient, mode: str
) -> None:
    values = ("node.enabled=true", f"node.mode={mode}", "node.discovery.enabled=true",
              "node.insecureSkipTLSVerify=true")  # fmt: skip
    arguments = [part for value in values for part in ("--set", value)]
    with installed_chart(api_server, client, *arguments) as release:
        problems = "\n".join(_problems(_examine(client, release)))
        wanted = 0 if mode == "daemonset" else 2
        assert f"0 of {wanted} node proxies are ready" in problems
        assert "kubelets are not verified" in problems
        assert f"{release.name}-node is not allowed to" not in problems
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        rules = [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}]
        path = f"{roles}/{release.name}-node"
        client.request("PATCH", path, body={"rules": rules}, content_type=MERGE)
        lacking = f"{release.own.name}/{release.name}-node is not allowed to get nodes/pods"
        until(lambda: lacking in _problems(_examine(client, release)))


def test_pods_that_trust_only_a_ca_that_ends_soon_are_named(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_namespace(client, "shop")
    store = SecretStore(client, release.own.name, f"{release.name}-ca")
    rotation = Rotation(store, ["livery"])
    old = rotation.issue(datetime.now(UTC)).bundle_pem
    environment = [{"name": "LIVERY_CONTROL_CA", "value": old}]
    proxy = {"name": "livery-proxy", "image": "x/livery-sidecar:1", "env": environment}
    containers = [{"name": "web", "image": "w:1"}, proxy]
    annotations = {"livery.dev/status": "{}", "prometheus.io/scrape": "true"}
    shop.create(
        "pods", "web", metadata={"annotations": annotations}, spec={"containers": containers}
    )
    shop.label(**{"livery.dev/inject": "enabled"})
    rotation.renew_authority(datetime.now(UTC))
    sentence = f"{shop.name}: 1 pod of pod/web trusting only a CA that expires soon"

    assert sentence not in _problems(_examine(client, release))
    monkeypatch.setattr(pods, "SHORT_LIFE", timedelta(days=4000))
    assert sentence in _problems(_examine(client, release))
    shop.label(**{"livery.dev/inject": None})


def test_pods_that_trust_only_a_ca_that_is_gone_are_named(
    client: KubeClient, release: Release
) -> None:
    shop = make_namespace(client, "shop")
    gone = create_authority("gone", datetime.now(UTC)).certificate_pem
    Rotation(SecretStore(client, release.own.name, f"{release.name}-ca"), ["livery"]).issue(
        datetime.now(UTC)
    )
    environment = [{"name": "LIVERY_CONTROL_CA", "value": gone}]
    proxy = {"name": "livery-proxy", "image": "x/livery-sidecar:1", "env": environment}
    containers = [{"name": "web", "image": "w:1"}, proxy]
    annotations = {"livery.dev/status": "{}", "prometheus.io/scrape": "true"}
    shop.create(
        "pods", "web", metadata={"annotations": annotations}, spec={"containers": containers}
    )
    shop.label(**{"livery.dev/inject": "enabled"})

    found = [item for item in _problems(_examine(client, release)) if shop.name in item]

    sentence = "trusting only a CA that is gone, so that a restarted proxy cannot connect"
    assert f"{shop.name}: 1 pod of pod/web {sentence}" in found
    shop.label(**{"livery.dev/inject": None})


def _injected(shop: Namespace) -> bool:
    labels = {"app": "web"}
    ports = [{"name": "http", "containerPort": 8080}]
    containers = [{"name": "web", "image": "registry.example/web:1", "ports": ports}]
    metadata = {
        "generateName": "web-",
        "labels": labels,
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
    }
    body = {"metadata": metadata, "spec": {"containers": containers}}
    made = shop.client.request("POST", f"{shop.path}/pods", body=body)
    return "livery.dev/status" in made["metadata"]["annotations"]


def _create(shop: Namespace, group: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    singular = {"networkpolicies": "NetworkPolicy", "podmonitors": "PodMonitor",
                "servicemonitors": "ServiceMonitor"}[kind]  # fmt: skip
    body = {"apiVersion": group, "kind": singular, "metadata": {"name": name}, "spec": spec}
    shop.client.request("POST", f"/apis/{group}/namespaces/{shop.name}/{kind}", body=body)


def _is_served(client: KubeClient, path: str) -> bool:
    with suppress(KubeError):  # "storage is (re)initializing", for a moment
        return find(client, path) is not None
    return False


@contextmanager
def _monitors(client: KubeClient) -> Iterator[None]:
    """Install minimal CRDs for the kinds of Prometheus operators."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = []
    for kind in ("PodMonitor", "ServiceMonitor"):
        plural = f"{kind.lower()}s"
        names.append(f"{plural}.monitoring.coreos.com")
        version = {"name": "v1", "served": True, "storage": True, "schema": schema}
        spec = {"group": "monitoring.coreos.com", "scope": "Namespaced", "versions": [version],
                "names": {"kind": kind, "plural": plural, "listKind": f"{kind}List"}}  # fmt: skip
        client.request("POST", path, body={"metadata": {"name": names[-1]}, "spec": spec})
    for kind in ("podmonitors", "servicemonitors"):
        until(partial(_is_served, client, f"/apis/{MONITORS}/{kind}"))
    yield
    for name in names:
        client.request("DELETE", f"{path}/{name}")


def _owned_pod(
    shop: Namespace, name: str, kind: str, owner: str, annotations: dict[str, str]
) -> None:
    reference = {
        "apiVersion": "apps/v1", "kind": kind, "name": owner, "controller": True, "uid": "1",
    }  # fmt: skip
    containers = [{"name": "web", "image": "registry.example/web:1"}]
    metadata = {
        "annotations": annotations, "ownerReferences": [reference],
        "labels": {"pod-template-hash": "5d4"},
    }  # fmt: skip
    spec = {"containers": containers, "serviceAccountName": "default"}
    shop.create("pods", name, metadata=metadata, spec=spec)
