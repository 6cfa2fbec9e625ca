"""Builds the components of an injector that runs in a cluster."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from webhook_certs.carried import CarriedTrust
from webhook_certs.rotation import Issuer, Rotation

from injector.control.backend import Backend, Publisher
from injector.control.proxies import Proxies
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.lease import Lease
from injector.kube.api.reflector import Reflector, Resource
from injector.kube.api.source import NODES, RESOURCES, ClusterSource
from injector.kube.certificates.published import (
    AdditivePublisher,
    FanOutPublisher,
    PublishedObject,
    WebhookBundle,
    ca_bundle_map,
    policy_facts,
)
from injector.kube.certificates.secrets import ProvidedSecret, SecretStore
from injector.kube.objects.followed_backends import FollowedBackends
from injector.kube.objects.followed_collectors import FollowedCollectors
from injector.kube.objects.followed_pods import FollowedPods
from injector.kube.objects.followed_secrets import FollowedSecrets
from injector.kube.objects.proxy_troubles import ProxyTroubles
from injector.kube.objects.replicas import Replicas, ReplicaSettings
from injector.kube.objects.service_address import ServiceAddress
from injector.kube.objects.status import StatusWriter
from injector.kube.tokens.authenticator import TokenReviewAuthenticator
from injector.kube.tokens.queue import ReviewQueue
from injector.kube.tokens.reviewer import AccessReviewer
from injector.model.admission.troubles import Trouble
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform


class ClusterSettings(NamedTuple):
    """Names of the cluster objects that the injector uses."""

    namespace: str
    ca_secret: str
    """Secret that stores the injector's own CA."""
    lease: str
    """Lease that selects the replica that writes objects' status; empty if none writes it."""
    webhook_configuration: str
    """Empty if no webhook is registered: pods are injected by policy, or by hand."""
    policy_secret: str = ""
    """Secret with the control service's CAs and address for the policy; empty without a policy."""
    ca_bundle_map: str = ""
    """ConfigMap that publishes the CAs to node proxies; empty if there is none."""
    certificate_secret: str = ""
    """Secret with an externally issued certificate; empty if there is none."""
    publishes_to_webhook: bool = True
    """Whether the injector, not the platform, writes the CA into the webhook's configuration."""

    replicas: ReplicaSettings | None = None
    """How replicas find and authenticate one another; None for a single replica."""

    @property
    def followed_secrets(self) -> Sequence[str]:
        """Secrets that certificates are issued from."""
        return [name for name in (self.certificate_secret, self.ca_secret) if name]


class Observers(NamedTuple):
    """Callbacks that update metrics."""

    on_failure: Callable[[str], None]
    """Called with a resource's kind each time it cannot be watched."""
    show_troubles: Callable[[Mapping[Trouble, Mapping[str, int]]], None]
    """Called with the number of pods without a working proxy, by trouble and namespace."""


def cluster_backend(
    client: KubeClient,
    settings: ClusterSettings,
    platform: Platform,
    observers: Observers,
    *,
    address: ServiceAddress | None = None,
) -> Backend:
    """Build the components.

    Args:
        client: the cluster.
        settings: where the CA is stored and published.
        platform: the platform's settings, by which objects are judged.
        observers: callbacks that update metrics.
        address: the control service's address; None if the platform settings fix it.
    """
    cluster = ClusterState()
    listeners: list[Callable[[], None]] = []
    resources = (*RESOURCES, NODES) if platform.publishes_nodes else RESOURCES
    source = ClusterSource(client, cluster, resources, observers.on_failure)
    queue = ReviewQueue()
    authenticator = TokenReviewAuthenticator(client, queue)
    troubles = ProxyTroubles(
        client,
        cluster,
        platform,
        show=observers.show_troubles,
        on_deleted=authenticator.forget,
        tells=bool(settings.webhook_configuration or settings.policy_secret),
    )
    backends = FollowedBackends(client, cluster, platform.backends, observers.on_failure)
    collectors = FollowedCollectors(client, cluster, platform.collectors, observers.on_failure)
    secrets = FollowedSecrets(client, cluster, platform.remote_write)
    background_tasks: list[Callable[[], Awaitable[None]]] = [
        lambda: _follow_secret(client, settings, listeners, observers.on_failure),
    ]
    if platform.backends:
        background_tasks.append(backends.follow)
    if platform.collectors:
        background_tasks.append(collectors.follow)
    if platform.remote_write.secret_namespaces:
        background_tasks.append(secrets.follow)

    async def write_status(proxies: Proxies) -> None:
        lease = Lease(client, settings.namespace, settings.lease, socket.gethostname())
        writer = StatusWriter(
            client,
            cluster,
            source.statuses,
            platform=platform,
            lease=lease,
            is_listed=source.has_read,
            sending=proxies.sending,
        )
        await writer.run()

    peers = settings.replicas
    replicas = None if peers is None else Replicas(client, settings.namespace, peers)
    return Backend(
        cluster=cluster,
        source=source,
        background_tasks=background_tasks,
        pods=FollowedPods(client, cluster, observers.on_failure),
        write_status=write_status if settings.lease else None,
        follow_pods=lambda proxies: troubles.run(proxies, observers.on_failure),
        troubles=lambda: [
            *troubles.sentences(),
            *backends.troubles(),
            *collectors.troubles(),
            *secrets.troubles(),
        ],
        authenticator=authenticator,
        reviewer=AccessReviewer(client, queue),
        issuer=lambda names: _issuer(client, settings, names),
        publisher=_publisher(client, settings, platform, address),
        follow_address=None if address is None else address.follow,
        replica_account="" if peers is None else f"{settings.namespace}/{peers.service}",
        follow_replicas=None if replicas is None else replicas.follow,
        on_store_change=listeners.append,
    )


def _issuer(client: KubeClient, settings: ClusterSettings, names: Sequence[str]) -> Issuer:
    store = SecretStore(client, settings.namespace, settings.ca_secret)
    if not settings.certificate_secret:
        return Rotation(store, names)
    name = settings.certificate_secret
    return CarriedTrust(ProvidedSecret(client, settings.namespace, name, names[0]), store, names)


def _publisher(
    client: KubeClient,
    settings: ClusterSettings,
    platform: Platform,
    service: ServiceAddress | None,
) -> Publisher | None:
    places: list[WebhookBundle | PublishedObject] = []
    if settings.webhook_configuration and settings.publishes_to_webhook:
        places.append(WebhookBundle(client, settings.webhook_configuration))
    elif settings.policy_secret:
        fixed = platform.control.address if platform.control else ""

        def address() -> str:
            return fixed if service is None else service.current

        places.append(policy_facts(client, settings.namespace, settings.policy_secret, address))
    if settings.ca_bundle_map:
        places.append(ca_bundle_map(client, settings.namespace, settings.ca_bundle_map))
    if not places:
        return None
    return FanOutPublisher(
        [AdditivePublisher(item) if settings.certificate_secret else item for item in places]
    )


async def _follow_secret(
    client: KubeClient,
    settings: ClusterSettings,
    listeners: Sequence[Callable[[], None]],
    on_failure: Callable[[str], None],
) -> None:
    """Call the listeners whenever the Secret may have changed, until cancelled."""
    path = f"/api/v1/namespaces/{settings.namespace}/secrets"
    bell = _Bell(asyncio.get_running_loop(), listeners)
    reflectors = [
        Reflector(
            client,
            Resource("Secret", path, selector=f"metadata.name={name}"),
            bell,
            on_failure=on_failure,
        )
        for name in settings.followed_secrets
    ]
    for reflector in reflectors:
        reflector.start()
    try:
        await asyncio.Event().wait()
    finally:
        for reflector in reflectors:
            reflector.stop()


class _Bell:
    """Calls listeners, in the loop's thread, whenever a resource may have changed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Callable[[], None]]
    ) -> None:
        self._loop = loop
        self._listeners = listeners

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        self._ring()

    def put(self, resource: Resource, obj: JsonObject) -> None:
        self._ring()

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        self._ring()

    def _ring(self) -> None:
        if not self._loop.is_closed():
            for listener in self._listeners:
                self._loop.call_soon_threadsafe(listener)
