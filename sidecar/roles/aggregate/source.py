"""Sources of pods and labels: the control service, or the API server and a policy file."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.control.source import PolicySource
from sidecar.errors import SettingsError
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.pods.scraped_pod import ScrapedPod
from sidecar.model.policy.aggregate import (
    AGGREGATE_KEYS,
    AggregateChange,
    AggregatePolicy,
    parse_aggregate_policy,
)
from sidecar.model.policy.series import SeriesPolicy
from sidecar.pods.access import ApiAccess, read_in_cluster
from sidecar.pods.api import ApiClient
from sidecar.pods.kubeconfig import kubeconfig_files, read_kubeconfig
from sidecar.pods.source import KubernetesPods
from sidecar.roles.aggregate.settings import AggregateSettings

Report = Callable[[], dict[str, object]]
Tasks = list[Callable[[], Awaitable[None]]]


class Listener(Protocol):
    """Receives changes from a source."""

    def pods_changed(self) -> None:
        """Handle added, changed or deleted pods."""

    def use(self, policy: SeriesPolicy, namespaces: Collection[str] | None) -> None:
        """Apply a policy; `namespaces` are those with changed labels, None if rules changed."""


class PodsSource(Protocol):
    """A source of pods."""

    policy: PolicySource[AggregateChange]
    """Source of labels and rules; has the connection to the control service, if there is one."""

    @property
    def pods(self) -> Iterable[ScrapedPod]:
        """All known pods."""

    @property
    def where(self) -> str:
        """The pods' namespaces, as text for messages."""

    @property
    def fault(self) -> str:
        """Why no pods are known yet; empty if they are."""

    @property
    def trouble(self) -> str:
        """The current problem, while the last known pods stay in use; empty if there is none."""

    @property
    def not_granted(self) -> Sequence[str]:
        """Requested namespaces whose pods the control service does not send."""

    @property
    def age_seconds(self) -> float:
        """Upper bound on the age of the pod list; 0 while it is watched."""

    @property
    def failures(self) -> int:
        """Number of failures to watch pods."""

    def tasks(self, report: Report) -> Tasks:
        """Return the background tasks."""

    def close(self) -> None:
        """Drop the connections."""


def make_source(
    settings: AggregateSettings, environ: Mapping[str, str], listener: Listener
) -> PodsSource:
    """Create the source that the settings select.

    Raises:
        SettingsError: the control service, the kubeconfig or the policy file cannot be used.
    """
    if settings.control is not None:
        return ControlPods(settings, listener)
    access = find_api_server(settings, environ)
    client = ApiClient(access, lambda: find_api_server(settings, environ))
    return ApiPods(settings, client, access.namespace, listener)


def find_api_server(settings: AggregateSettings, environ: Mapping[str, str]) -> ApiAccess:
    """Return access to the API server.

    It comes from a kubeconfig that is set, else from the pod's service account, else from the
    default kubeconfig.

    Raises:
        SettingsError: there is no access, or it cannot be used.
    """
    is_named = settings.kubeconfig or settings.context or environ.get("KUBECONFIG")
    if not is_named:
        access = read_in_cluster(environ)
        if access is not None:
            return access
    return read_kubeconfig(kubeconfig_files(settings.kubeconfig, environ), settings.context)


class ControlPods:
    """Pods from the control service's stream.

    Raises:
        SettingsError: the service's URL or CA cannot be used.
    """

    def __init__(self, settings: AggregateSettings, listener: Listener) -> None:
        self._listener = listener
        self._namespaces = settings.namespaces
        self._present = AggregatePolicy()
        self.policy: PolicySource[AggregateChange] = PolicySource(
            self._apply, "the list of pods has not arrived yet"
        )
        if settings.control is not None:
            self.policy.connect(settings.control, KeyedPolicyReceiver(AGGREGATE_KEYS))

    @property
    def pods(self) -> Iterable[ScrapedPod]:
        """All pods that were received."""
        return self._present.pods.values()

    @property
    def where(self) -> str:
        """The pods' namespaces, as text for messages."""
        return _where(self._namespaces or self._present.granted)

    @property
    def fault(self) -> str:
        """Why no pods are known yet."""
        return self.policy.fault

    @property
    def trouble(self) -> str:
        """Namespaces that are not granted, or why the stream is down; empty if neither."""
        if self.not_granted:
            return (
                f"not granted: {', '.join(self.not_granted)}; add them for this service account "
                "to control.grants.aggregates"
            )
        client = self.policy.client
        return client.last_error if client is not None and not client.is_connected else ""

    @property
    def not_granted(self) -> Sequence[str]:
        """Requested namespaces whose pods the control service does not send."""
        granted = self._present.granted
        if "*" in granted or self.policy.fault:
            return ()
        return [name for name in self._namespaces if name not in granted]

    @property
    def age_seconds(self) -> float:
        """Time since the control service's last message; 0 while the stream is open."""
        client = self.policy.client
        return 0.0 if client is None or client.is_connected else self.policy.silence_seconds

    @property
    def failures(self) -> int:
        """Number of stream failures."""
        return 0 if self.policy.client is None else self.policy.client.failures

    def tasks(self, report: Report) -> Tasks:
        """Return the background tasks."""
        return self.policy.tasks(report)

    def close(self) -> None:
        """Do nothing: the stream ends with its task."""

    def _apply(self, change: AggregateChange) -> None:
        before, self._present = self._present, change.policy
        if change.namespaces is None or change.namespaces:
            self._listener.use(change.policy.series, change.namespaces)
        if change.policy.pods != before.pods or change.policy.granted != before.granted:
            self._listener.pods_changed()


class ApiPods:
    """Pods from the API server; optionally labels from it or from a policy file.

    Raises:
        SettingsError: the policy file cannot be used.
    """

    def __init__(
        self, settings: AggregateSettings, client: ApiClient, namespace: str, listener: Listener
    ) -> None:
        self._listener = listener
        namespaces = settings.namespaces or (namespace,)
        self._namespaces = () if settings.all_namespaces else namespaces
        self._wants_labels = settings.wants_labels
        self._labels: dict[str, Mapping[str, str]] = {}
        self._kubernetes = KubernetesPods(
            client,
            self._namespaces,
            settings.selector.text,
            wants_labels=settings.wants_labels,
            on_change=self._changed,
        )
        self.policy: PolicySource[AggregateChange] = PolicySource(self._apply)
        if settings.policy_file is not None:
            self._use_file(settings.policy_file)

    @property
    def pods(self) -> Iterable[ScrapedPod]:
        """All pods that the selector matches."""
        return self._kubernetes.pods

    @property
    def where(self) -> str:
        """The pods' namespaces, as text for messages."""
        return _where(self._namespaces)

    @property
    def fault(self) -> str:
        """Why no pods are known yet."""
        if self._kubernetes.is_listed:
            return self.policy.fault
        return self._kubernetes.error() or "the API server has not listed the pods yet"

    @property
    def trouble(self) -> str:
        """Why pods cannot be watched now; empty if they can."""
        return self._kubernetes.error()

    @property
    def not_granted(self) -> Sequence[str]:
        """Return nothing: a forbidden namespace is reported by `trouble`."""
        return ()

    @property
    def age_seconds(self) -> float:
        """Upper bound on the age of the pod list; 0 while it is watched."""
        return self._kubernetes.age_seconds

    @property
    def failures(self) -> int:
        """Number of failures to watch pods."""
        return self._kubernetes.failures

    def tasks(self, report: Report) -> Tasks:
        """Return the background tasks."""
        return [*self._kubernetes.tasks(), *self.policy.tasks(report)]

    def close(self) -> None:
        """Drop the connections."""
        self._kubernetes.close()

    def _use_file(self, path: Path) -> None:
        self.policy.use_file(path, parse_aggregate_policy)
        self.policy.read()
        if self.policy.fault:
            raise SettingsError(f"--policy: {self.policy.fault}")

    def _apply(self, change: AggregateChange) -> None:
        self._listener.use(change.policy.series, None)

    def _changed(self) -> None:
        if self._wants_labels and self._kubernetes.namespace_labels != self._labels:
            before, self._labels = self._labels, self._kubernetes.namespace_labels
            names = before.keys() | self._labels.keys()
            changed = {name for name in names if before.get(name) != self._labels.get(name)}
            rules = LabelRules()
            named = {name: derive_labels(item, rules) for name, item in self._labels.items()}
            self._listener.use(SeriesPolicy(naming=rules, namespaces=named), changed)
        self._listener.pods_changed()


def _where(namespaces: Collection[str]) -> str:
    if not namespaces or "*" in namespaces:
        return "all namespaces"
    return f"namespace{'s' if len(namespaces) > 1 else ''} {', '.join(namespaces)}"
