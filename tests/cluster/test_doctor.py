"""`livery doctor` on a real API server."""

from datetime import UTC, datetime

from kubernetes.client import Configuration
from webhook_certs.rotation import Rotation

from injector.commands.inputs import parse_platform_text
from injector.kube.authorities import SecretStore, WebhookBundle
from injector.kube.client import KubeClient
from injector.kube.doctor import Finding, Installation, examine
from tests.cluster.conftest import Namespace, Release, make_namespace


def _examine(client: KubeClient, release: Release) -> dict[str, Finding]:
    installation = Installation(release.own.name, release.name, parse_platform_text)
    return {finding.sentence: finding for finding in examine(client, installation)}


def _problems(found: dict[str, Finding]) -> set[str]:
    return {sentence for sentence, finding in found.items() if not finding.is_well}


def test_nothing_installed_is_said_with_the_command_that_installs(client: KubeClient) -> None:
    found = list(examine(client, Installation("nowhere", "livery", parse_platform_text)))

    assert found[0].is_well
    assert any("helm install livery" in finding.remedy for finding in found)
    assert any("does not know MetricAccess" in finding.sentence for finding in found)


def test_a_new_installation_lacks_what_its_injector_does(
    client: KubeClient, release: Release
) -> None:
    found = _examine(client, release)
    assert _problems(found) == {"0 of 2 injectors are ready", "the injector has made no CA yet"}
    store = SecretStore(client, release.own.name, f"{release.name}-ca")
    bundle = Rotation(store, ["livery"]).issue(datetime.now(UTC)).bundle_pem
    assert "the webhook's configuration has the CA" in _problems(_examine(client, release))
    WebhookBundle(client, release.name).publish(bundle)

    assert _problems(_examine(client, release)) == {"0 of 2 injectors are ready"}


def test_pods_without_a_proxy_are_named_with_what_restarts_them(
    client: KubeClient, release: Release
) -> None:
    shop = make_namespace(client, "shop")
    asks = {"prometheus.io/scrape": "true"}
    _owned_pod(shop, "web-5d4-abc", "ReplicaSet", "web-5d4", asks)
    _owned_pod(shop, "db-0", "StatefulSet", "db", asks)
    _owned_pod(shop, "quiet-0", "StatefulSet", "quiet", {})
    shop.pod("alone", **asks)
    # Labelled afterwards: their pods were made before anybody asked.
    shop.label(**{"livery.dev/inject": "enabled"})
    found = _examine(client, release)

    def remedy(owner: str) -> str:
        return found[f"{shop.name}: 1 pods of {owner} have none"].remedy

    assert remedy("deployment/web") == f"kubectl -n {shop.name} rollout restart deployment/web"
    assert remedy("statefulset/db") == f"kubectl -n {shop.name} rollout restart statefulset/db"
    assert "delete pod/alone" in remedy("pod/alone")
    assert not any("quiet" in sentence for sentence in found)
    shop.label(**{"livery.dev/inject": None})


def test_an_api_server_that_does_not_answer_is_one_finding() -> None:
    away = KubeClient(Configuration(host="https://127.0.0.1:1"))
    (finding,) = examine(away, Installation("livery-system", "livery", parse_platform_text))

    assert not finding.is_well


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
