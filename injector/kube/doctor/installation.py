"""Checks of the injector: CRD, pods, certificates, and the webhook or policy."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from webhook_certs.authority import load_certificate
from webhook_certs.errors import CertificateError
from webhook_certs.provided import CA_BUNDLE, rewrite_bundle

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.certificates.published import WebhookBundle, policy_facts
from injector.kube.certificates.secrets import ProvidedSecret, SecretStore, decode_text
from injector.kube.doctor.findings import Finding, Installation, find, find_all
from injector.kube.doctor.replicas import why_not_ready
from injector.model.cluster.objects import labels_of, namespace_of
from sidecar.model.access.objects import API_VERSION

OLDEST_MINOR = 29
SHORT_LIFE = timedelta(days=90)
SHORT_LEAF = timedelta(days=3)
"""Minimum remaining lifetime of an externally renewed certificate."""
_INJECTORS = "app.kubernetes.io/name=livery,app.kubernetes.io/component=injector"
_SAY_THE_CA = (
    "the platform sets the CA (certificates.publish: false): helm upgrade … --set-file "
    "certificates.caBundle=ca.crt, or certificates.webhookAnnotations for cert-manager"
)
_END = "-----END CERTIFICATE-----\n"
_POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"


def look_at_server(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check the API server and its version."""
    version = client.request("GET", "/version")
    text = str(version.get("gitVersion", ""))
    digits = "".join(char for char in str(version.get("minor", "")) if char.isdigit())
    is_new = int(digits or 0) >= OLDEST_MINOR
    remedy = "" if is_new else f"Kubernetes 1.{OLDEST_MINOR} or newer is needed"
    yield Finding(is_new, f"the API server answers, version {text}", remedy)


def find_absence(client: KubeClient, installation: Installation) -> Finding | None:
    """Return a finding if Livery is missing, which says where it is instead; None if it is there.

    Raises:
        KubeError: a request failed.
    """
    own = f"{installation.namespace}, release {installation.name}"
    path = f"/api/v1/namespaces/{installation.namespace}/configmaps/{installation.name}-platform"
    if (
        _deployment(client, installation) is not None
        or find(client, path) is not None
        or _has_policy(client, installation)
    ):
        return None
    for found in find_all(client, "/apis/apps/v1/deployments", 100, labelSelector=_INJECTORS):
        namespace, labels = namespace_of(found), labels_of(found)
        release = labels.get("app.kubernetes.io/instance", "livery")
        sentence = f"Livery is not in namespace {own}; it is in {namespace}, release {release}"
        return Finding(False, sentence, f"livery doctor -n {namespace} --release {release}")
    sentence = f"Livery is not installed in namespace {own}"
    return Finding(False, sentence, installation.install)


def look_at_definition(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check that the CRD is installed."""
    if find(client, f"/apis/{API_VERSION}") is None:
        remedy = installation.reapply("crds.enabled=true")
        yield Finding(False, "the MetricAccess CRD is not installed", remedy)
        return
    yield Finding(True, "the MetricAccess CRD is installed")


def look_at_injector(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check the injector's Deployment and pods."""
    deployment = _deployment(client, installation)
    if deployment is None:
        if _has_policy(client, installation):
            yield Finding(True, "no injector is needed: pods are injected by policy")
            return
        place = f"{installation.namespace}/{installation.injector}"
        yield Finding(False, f"there is no Deployment {place}", installation.reapply())
        return
    wanted = int((deployment.get("spec") or {}).get("replicas") or 0)
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    sentence = f"{ready} of {wanted} injectors are ready"
    if ready >= wanted > 0:
        yield Finding(True, sentence)
    elif not wanted:
        yield Finding(False, f"{sentence}: it was scaled to zero", installation.scale)
    else:
        found = why_not_ready(client, installation)
        reason = f": {found.reason}" if found.reason else ""
        yield Finding(False, f"{sentence}{reason}", found.remedy or installation.log)


def look_at_certificates(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check the certificates that the injector uses, and how long they stay valid."""
    arguments = read_arguments(_deployment(client, installation))
    if arguments is None:
        return
    now = datetime.now(UTC)
    if "certificate-secret" in arguments:
        name, server = arguments["certificate-secret"], _server_name(installation)
        if find(client, f"/api/v1/namespaces/{installation.namespace}/secrets/{name}") is None:
            sentence = f"there is no Secret {installation.namespace}/{name}"
            yield Finding(False, sentence, "create it: certificates.secretName names it")
            return
        material = ProvidedSecret(client, installation.namespace, name, server).issue(now)
        left = material.leaf.not_after - now
        remedy = "" if left > SHORT_LEAF else f"check what renews the Secret {name}"
        yield Finding(
            left > SHORT_LEAF, f"the provided certificate expires in {left.days} days", remedy
        )
        return
    secret = arguments.get("ca-secret", "livery-ca")
    kept = SecretStore(client, installation.namespace, secret).load()
    if not kept.generations:
        yield Finding(False, "the injector has not created a CA yet", installation.log)
        return
    newest = load_certificate(kept.generations[-1].authority.certificate_pem)
    left = newest.not_valid_after_utc - now
    remedy = (
        "" if left > SHORT_LIFE else installation.log
    )  # the injector renews its CA at half of its lifetime
    yield Finding(left > SHORT_LIFE, f"the CA expires in {left.days} days", remedy)


def look_at_registration(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check the webhook, or the policy that injects pods."""
    arguments = read_arguments(_deployment(client, installation))
    if arguments is None:
        return
    bundle = _bundle(client, installation, arguments)
    if "policy-secret" in arguments:
        if not _has_policy(client, installation):
            yield Finding(False, "the admission policy is missing", installation.reapply())
            return
        facts = policy_facts(client, installation.namespace, arguments["policy-secret"])
        # Its address differs between installations; only the CA matters.
        is_published = bool(bundle) and facts.contains(bundle)
        yield _published(is_published, "the admission policy's Secret", installation.log)
        return
    if not arguments.get("webhook-configuration"):
        yield Finding(True, "no webhook is registered: pods are injected by hand")
        return
    try:
        webhook = WebhookBundle(client, arguments["webhook-configuration"])
        is_published = webhook.contains(bundle)
    except KubeError as error:
        if error.status != 404:
            raise
        yield Finding(False, "the webhook's configuration is missing", installation.reapply())
        return
    if bundle:
        given = "webhook-is-given" in arguments
        remedy = _SAY_THE_CA if given else installation.log
        yield _published(is_published, "the webhook's configuration", remedy)


def injects(client: KubeClient, installation: Installation) -> bool:
    """Tell whether a webhook or a policy injects pods."""
    arguments = read_arguments(_deployment(client, installation))
    if arguments is None or "policy-secret" in arguments:
        return _has_policy(client, installation)
    return bool(arguments.get("webhook-configuration", "livery"))


def read_ca_bundle(client: KubeClient, installation: Installation) -> list[str]:
    """Return the control service's own CAs, PEM, oldest first; empty if there are none."""
    arguments = read_arguments(_deployment(client, installation))
    if arguments is None:
        return []
    secret = arguments.get("ca-secret", "livery-ca")
    kept = SecretStore(client, installation.namespace, secret).load()
    return [item.authority.certificate_pem for item in kept.generations]


def read_trust(client: KubeClient, installation: Installation) -> list[str]:
    """Return every CA by which a proxy can verify the control service, PEM."""
    arguments = read_arguments(_deployment(client, installation))
    if arguments is None:
        return []
    provided = _bundle(client, installation, arguments) if _is_provided(arguments) else ""
    return [*read_ca_bundle(client, installation), *divide_bundle(provided)]


def divide_bundle(bundle_pem: str) -> list[str]:
    """Return a bundle's certificates, each as PEM."""
    return [part + _END for part in bundle_pem.split(_END) if part.strip()]


def _is_provided(arguments: dict[str, str]) -> bool:
    return "certificate-secret" in arguments


def read_arguments(deployment: JsonObject | None) -> dict[str, str] | None:
    """Return the injector's arguments by name; None if there is no injector."""
    if deployment is None:
        return None
    containers = deployment["spec"]["template"]["spec"]["containers"]
    given: Sequence[str] = containers[0].get("args") or ()
    pairs = (text.removeprefix("--").partition("=") for text in given if text.startswith("--"))
    return {name: value for name, _, value in pairs}


def _deployment(client: KubeClient, installation: Installation) -> JsonObject | None:
    path = f"/apis/apps/v1/namespaces/{installation.namespace}/deployments"
    return find(client, f"{path}/{installation.injector}")


def _has_policy(client: KubeClient, installation: Installation) -> bool:
    return find(client, f"{_POLICIES}/{installation.name}") is not None


def _server_name(installation: Installation) -> str:
    return f"{installation.injector}.{installation.namespace}.svc"


def _bundle(client: KubeClient, installation: Installation, arguments: dict[str, str]) -> str:
    if "certificate-secret" in arguments:
        path = f"/api/v1/namespaces/{installation.namespace}/secrets"
        secret = find(client, f"{path}/{arguments['certificate-secret']}") or {}
        try:
            text = decode_text((secret.get("data") or {}).get(CA_BUNDLE), CA_BUNDLE)
            return rewrite_bundle(text, CA_BUNDLE)
        except CertificateError:
            return ""  # already reported as a finding
    return "".join(reversed(read_ca_bundle(client, installation)))


def _published(is_published: bool, place: str, remedy: str) -> Finding:
    if is_published:
        return Finding(True, f"{place} has the CA")
    return Finding(False, f"{place} lacks the CA of the injector's certificate", remedy)
