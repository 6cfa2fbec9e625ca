"""Reviews of tokens and of access, on a real API server."""

import pytest
from kubernetes.client import Configuration

from injector.control.identity import AccessAttributes
from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.kube.tokens.reviews import may_access, review_token
from tests.cluster.fixtures import Namespace, until

API = "https://kubernetes.default.svc"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def test_a_token_is_judged_for_its_audience(client: KubeClient, namespace: Namespace) -> None:
    ours, theirs = (namespace.token("default", audience=name) for name in ("livery-control", API))

    assert review_token(client, ours, "livery-control")["authenticated"] is True
    assert "authenticated" not in review_token(client, theirs, "livery-control")
    assert "authenticated" not in review_token(client, ours)
    assert review_token(client, theirs)["user"]["username"].endswith(":default")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800"])
def test_what_is_no_token_is_nobodys(client: KubeClient, token: str) -> None:
    assert "authenticated" not in review_token(client, token)


def test_a_user_may_what_its_groups_may(client: KubeClient, namespace: Namespace) -> None:
    group = f"readers-of-{namespace.name}"
    rules = [
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]},
    ]
    metadata = {"name": group}
    client.request("POST", f"{_RBAC}/clusterroles", body={"metadata": metadata, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": group}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}
    body = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
    client.request("POST", f"{_RBAC}/clusterrolebindings", body=body)
    asked = [
        AccessAttributes("get", path="/metrics"),
        AccessAttributes("update", group="apps", resource="deployments", subresource="scale"),
        AccessAttributes("get", path="/healthy"),
        AccessAttributes("update", group="apps", resource="deployments"),
        AccessAttributes("update", resource="deployments", subresource="scale"),
    ]
    user = {"username": "jane", "groups": [group]}

    expected = [True, True, False, False, False]
    # New permissions take effect after a moment.
    until(lambda: [may_access(client, user, item) for item in asked] == expected)
    assert not may_access(client, {"username": "jane", "groups": None}, asked[0])


def test_a_namespace_of_a_resource_counts(client: KubeClient, namespace: Namespace) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    path = f"{_RBAC}/namespaces/{namespace.name}"
    client.request("POST", f"{path}/roles", body={"metadata": {"name": "r"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}
    body = {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]}
    client.request("POST", f"{path}/rolebindings", body=body)
    there = AccessAttributes("get", resource="pods", namespace=namespace.name)

    until(lambda: may_access(client, {"username": "jane"}, there))
    assert not may_access(client, {"username": "jane"}, there._replace(namespace="default"))
    assert not may_access(client, {"username": "jane"}, there._replace(namespace=""))


def test_an_api_server_that_does_not_answer_has_refused_nobody() -> None:
    away = KubeClient(Configuration(host="http://127.0.0.1:1"))
    with pytest.raises(KubeError):
        review_token(away, "x")
    with pytest.raises(KubeError):
        may_access(away, {"username": "jane"}, AccessAttributes("get", path="/metrics"))
