"""What is wrong with an installation, and the command that mends each: `livery doctor`.

Reads with the rights of whoever asks, and changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from webhook_certs.authority import load_certificate
from webhook_certs.errors import CertificateError

from injector.errors import KubeError, SettingsError
from injector.kube.authorities import SecretStore, WebhookBundle
from injector.kube.client import KubeClient, Object
from injector.model import names
from injector.model.injection import decide, workload_name
from injector.model.metricaccess import API_VERSION
from injector.model.objects import annotations_of, name_of
from injector.model.outcomes import Reason
from injector.model.settings import Platform
from injector.model.templates import template_hash
from injector.model.world import World

OLDEST_MINOR = 29
SHORT_LIFE = timedelta(days=90)
MAX_PODS = 20_000
"""Of one namespace; more are not looked at, and said to be."""
_PAGE = 500
_PULL_FAILURES = frozenset(["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])


class Finding(NamedTuple):
    """One thing that was looked at."""

    is_well: bool
    sentence: str
    remedy: str = ""
    """A command, or what to look at."""


class Installation(NamedTuple):
    """Which installation is meant."""

    namespace: str
    name: str
    """The Helm release's."""
    read_platform: Callable[[str, str], Platform]
    """Reads settings in YAML, and their name for errors; raises SettingsError."""


def examine(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Look at everything; what cannot be read is a finding of its own."""
    checks: Sequence[Callable[[KubeClient, Installation], Iterator[Finding]]] = (
        _server, _definition, _injector, _certificates, _namespaces,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check(client, installation)
        except (KubeError, CertificateError, SettingsError) as error:
            yield Finding(is_well=False, sentence=f"cannot be looked at: {error}")
            if isinstance(error, KubeError) and error.status == 0:
                return  # the API server does not answer: nor will it the next


def _server(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    version = client.request("GET", "/version")
    text = str(version.get("gitVersion", ""))
    digits = "".join(char for char in str(version.get("minor", "")) if char.isdigit())
    is_new = int(digits or 0) >= OLDEST_MINOR
    remedy = "" if is_new else f"Kubernetes 1.{OLDEST_MINOR} or newer is needed"
    yield Finding(is_new, f"the API server answers: {text}", remedy)


def _definition(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    try:
        client.request("GET", f"/apis/{API_VERSION}")
    except KubeError as error:
        if error.status != 404:
            raise
        remedy = f"helm upgrade {installation.name} charts/livery --set crds.enabled=true"
        yield Finding(False, "the cluster does not know MetricAccess objects", remedy)
        return
    yield Finding(True, "the cluster knows MetricAccess objects")


def _injector(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    namespace, name = installation.namespace, f"{installation.name}-injector"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    try:
        deployment = client.request("GET", path)
    except KubeError as error:
        if error.status != 404:
            raise
        remedy = f"helm install {installation.name} charts/livery -n {namespace} --create-namespace"
        yield Finding(False, f"there is no Deployment {namespace}/{name}", remedy)
        return
    wanted = int((deployment.get("spec") or {}).get("replicas") or 0)
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    remedy = "" if ready else f"kubectl -n {namespace} logs deployment/{name}"
    yield Finding(ready > 0, f"{ready} of {wanted} injectors are ready", remedy)


def _certificates(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    kept = SecretStore(client, installation.namespace, f"{installation.name}-ca").load()
    if not kept.generations:
        remedy = f"kubectl -n {installation.namespace} logs deployment/{installation.name}-injector"
        yield Finding(False, "the injector has made no CA yet", remedy)
        return
    newest = load_certificate(kept.generations[-1].authority.certificate_pem)
    left = newest.not_valid_after_utc - datetime.now(UTC)
    yield Finding(left > SHORT_LIFE, f"the CA ends in {left.days} days")
    bundle = "".join(item.authority.certificate_pem for item in reversed(kept.generations))
    try:
        is_published = WebhookBundle(client, installation.name).is_published(bundle)
    except KubeError as error:
        if error.status != 404:
            raise
        if _registers_webhook(client, installation):
            remedy = f"helm upgrade {installation.name} charts/livery -n {installation.namespace}"
            yield Finding(False, "the webhook's configuration is gone", remedy)
        else:
            yield Finding(True, "no webhook is registered: pods are injected by hand")
        return
    remedy = "" if is_published else "the injector writes it within 30 s; see its log"
    yield Finding(is_published, "the webhook's configuration has the CA", remedy)


def _registers_webhook(client: KubeClient, installation: Installation) -> bool:
    path = f"/apis/apps/v1/namespaces/{installation.namespace}/deployments"
    deployment = client.request("GET", f"{path}/{installation.name}-injector")
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return f"--webhook-configuration={installation.name}" in (containers[0].get("args") or ())


def _namespaces(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    platform = _platform(client, installation)
    query = {"labelSelector": f"{names.INJECT}=enabled"}
    found = client.request("GET", "/api/v1/namespaces", query=query).get("items") or []
    if not found:
        remedy = f"kubectl label namespace NAME {names.INJECT}=enabled"
        yield Finding(True, "no namespace asks for proxies", remedy)
    for namespace in found:
        yield from _namespace(client, name_of(namespace), namespace, platform)


def _platform(client: KubeClient, installation: Installation) -> Platform:
    path = f"/api/v1/namespaces/{installation.namespace}/configmaps/{installation.name}-platform"
    text = (client.request("GET", path).get("data") or {}).get("platform.yaml", "")
    return installation.read_platform(str(text), path)


def _namespace(
    client: KubeClient, name: str, namespace: Object, platform: Platform
) -> Iterator[Finding]:
    world = World()
    world.put("Namespace", namespace)
    for limits in (
        client.request("GET", f"/api/v1/namespaces/{name}/limitranges").get("items") or ()
    ):
        world.put("LimitRange", limits)
    missing: Counter[str] = Counter()
    outdated: Counter[str] = Counter()
    proxies = 0
    present = template_hash(platform)
    for pod in _pods(client, name):
        reason = decide(pod, name, world, platform).reason
        if reason is Reason.INJECTED:
            missing[_owner(pod)] += 1
        elif names.STATUS in annotations_of(pod):
            proxies += 1
            if f'"{present}"' not in annotations_of(pod)[names.STATUS]:
                outdated[_owner(pod)] += 1
            waiting = _waiting_for_image(pod)
            if waiting:
                remedy = f"kubectl -n {name} describe pod {name_of(pod)}"
                yield Finding(
                    False, f"{name}/{name_of(pod)} waits for the image: {waiting}", remedy
                )
    yield Finding(True, f"{name}: {proxies} pods have a proxy")
    for owner, count in sorted(missing.items()):
        yield Finding(False, f"{name}: {count} pods of {owner} have none", _restart(name, owner))
    for owner, count in sorted(outdated.items()):
        sentence = f"{name}: {count} pods of {owner} have a proxy of an earlier installation"
        yield Finding(False, sentence, _restart(name, owner))


def _pods(client: KubeClient, namespace: str) -> Iterator[Object]:
    query = {"limit": str(_PAGE), "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    seen = 0
    while seen < MAX_PODS:
        page = client.request("GET", f"/api/v1/namespaces/{namespace}/pods", query=query)
        items = page.get("items") or []
        yield from items
        seen += len(items)
        following = (page.get("metadata") or {}).get("continue")
        if not following:
            return
        query["continue"] = str(following)


def _owner(pod: Object) -> str:
    """Name what to restart, as kubectl does: `deployment/web`."""
    for owner in (pod.get("metadata") or {}).get("ownerReferences") or ():
        kind = str(owner.get("kind", "")).lower()
        return f"{'deployment' if kind == 'replicaset' else kind}/{workload_name(pod)}"
    return f"pod/{name_of(pod)}"


def _restart(namespace: str, owner: str) -> str:
    if owner.startswith(("deployment/", "statefulset/", "daemonset/")):
        return f"kubectl -n {namespace} rollout restart {owner}"
    return f"kubectl -n {namespace} delete {owner}    # and create it anew"


def _waiting_for_image(pod: Object) -> str:
    status: dict[str, Any] = pod.get("status") or {}
    for container in (
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if (
            container.get("name") == names.PROXY_CONTAINER
            and waiting.get("reason") in _PULL_FAILURES
        ):
            return str(waiting["reason"])
    return ""
