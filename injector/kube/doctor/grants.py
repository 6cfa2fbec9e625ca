"""Checks of RBAC: of the injector, and of the service accounts that have a grant."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation, find
from injector.kube.doctor.nodes import read_node_proxies
from injector.platform.settings import Platform


class _Right(NamedTuple):
    verb: str
    group: str
    resource: str
    subresource: str = ""


_INJECTOR: Sequence[_Right] = (
    _Right("watch", "", "namespaces"),
    _Right("watch", "", "limitranges"),
    _Right("watch", "", "pods"),
    _Right("watch", "observability.ethos.io", "metricaccesses"),
    _Right("get", "", "pods"),
    _Right("create", "", "events"),
    _Right("patch", "observability.ethos.io", "metricaccesses", "status"),
    _Right("create", "authentication.k8s.io", "tokenreviews"),
)
_NODES = _Right("watch", "", "nodes")
_ASK_PODS = ("--discovery", "--pod-label", "--pod-annotation", "--complete-cgroups")
_REVIEWS = _Right("create", "authorization.k8s.io", "subjectaccessreviews")


def look_at_grants(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check that the injector and granted service accounts have the permissions they need."""
    platform = read_platform(client, installation)
    if platform is None:
        return
    own = f"{installation.namespace}/{installation.injector}"
    asks = bool(platform.nodes or platform.gateways)
    wanted = [
        *_INJECTOR,
        *([_REVIEWS] if asks else []),
        *([_NODES] if platform.publishes_nodes else []),
    ]
    lacking = [right for right in wanted if not _may(client, own, right)]
    for right in lacking:
        sentence = f"the injector is not allowed to {_words(right)}"
        yield Finding(False, sentence, installation.reapply())
    if not lacking:
        yield Finding(True, "the injector has the permissions it needs")
    for account in (*platform.exporters, *platform.nodes, *platform.gateways):
        namespace, _, name = account.partition("/")
        if find(client, f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}") is None:
            remedy = f"kubectl -n {namespace} create serviceaccount {name}    # or remove its grant"
            yield Finding(False, f"{account} has a grant but does not exist", remedy)
    proxies = read_node_proxies(client, installation)
    arguments = proxies.arguments if proxies is not None else frozenset()
    for account in platform.nodes:
        for right in node_rights(arguments):
            if not _may(client, account, right):
                what = f"{right.resource}/{right.subresource}"
                remedy = f"bind a ClusterRole with get on {what} to it"
                yield Finding(False, f"{account} is not allowed to {_words(right)}", remedy)


def node_rights(arguments: Collection[str]) -> list[_Right]:
    """Return the permissions that a node proxy with these arguments needs."""
    if any(item.startswith("--via-apiserver") for item in arguments):
        return [_Right("get", "", "nodes", "proxy")]
    asks_pods = any(item.startswith(_ASK_PODS) for item in arguments)
    subresources = ["metrics", *(["pods"] if asks_pods else [])]
    return [_Right("get", "", "nodes", name) for name in subresources]


def read_platform(client: KubeClient, installation: Installation) -> Platform | None:
    """Return the platform settings of an installation; None if there are none: no injector runs.

    Raises:
        SettingsError: they cannot be read.
    """
    path = f"/api/v1/namespaces/{installation.namespace}/configmaps/{installation.name}-platform"
    found = find(client, path)
    if found is None:
        return None
    return installation.read_platform(str((found.get("data") or {}).get("platform.yaml", "")), path)


def _may(client: KubeClient, account: str, right: _Right) -> bool:
    user = f"system:serviceaccount:{account.replace('/', ':')}"
    namespace = account.partition("/")[0]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}",
              "system:authenticated"]  # fmt: skip
    attributes = {name: text for name, text in right._asdict().items() if text}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return (client.request("POST", path, body=body).get("status") or {}).get("allowed") is True


def _words(right: _Right) -> str:
    part = f"/{right.subresource}" if right.subresource else ""
    return f"{right.verb} {right.resource}{part}"
