"""The status page's data: the current state as values, one page of each table."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from injector.control.journal import Journal, Reviewed
from injector.control.proxies import Proxies
from injector.control.reports import Pod, Report
from injector.model.access.sending import NOTHING_SENT, ObjectName, SendingFacts
from injector.model.access.verdicts import AccessVerdict, judge_namespace
from injector.model.admission.selection import is_enabled
from injector.model.cluster.state import ClusterState
from injector.model.roles import DEFAULT_ROLE, series_labels
from injector.platform.settings import Platform
from sidecar.model.described import Described
from sidecar.model.labels.namespace_labels import ExplainedLabel, explain_labels

ROWS = 25
"""Rows of one table on one page, so that the page stays small in a large cluster."""
PROBLEMS_SHOWN = 8
PATTERNS_SHOWN = 12
"""Shown per object; the page says how many more there are."""
COLOURS = 12
"""Number of colours that distinguish label values."""

Item = TypeVar("Item")


class Health(Described):
    """State of a proxy, the worst first."""

    FAILING = "failing", "a target is down, or a setting or the policy cannot be used"
    AWAY = "away", "it has reported, but has no policy stream to any replica"
    NEW = "new", "it is connected, but has not reported yet"
    HEALTHY = "healthy", "no target is down, and the proxy reports no fault"


_ORDER = {health: number for number, health in enumerate(Health)}


class Workload(NamedTuple):
    """One proxy and the workload that it runs beside."""

    pod: Pod
    health: Health
    published: str
    """Version of the last policy that it was sent; empty without a stream."""
    report: Report | None
    labels: Mapping[str, str]
    """Labels that its series have once the current policy is active."""


class NamespaceRow(NamedTuple):
    """One namespace, its labels, and how they appear on series."""

    name: str
    is_enabled: bool
    proxies: int
    labels: Sequence[ExplainedLabel]


class RuleRow(NamedTuple):
    """One MetricAccess object."""

    namespace: str
    verdict: AccessVerdict
    reach: str
    """The namespaces that it may read, in words."""
    facts: SendingFacts | None
    """What has been forwarded; None if it sends nothing."""


class Page(NamedTuple, Generic[Item]):
    """One page of a table."""

    items: Sequence[Item]
    number: int
    """Counts from 1."""
    pages: int
    """Number of pages."""
    total: int
    """Number of rows on all pages."""


class CertificateFacts(NamedTuple):
    """The injector's certificates."""

    leaf_ends: datetime
    authority_ends: datetime
    fingerprint: str
    names: Sequence[str]


class Hint(NamedTuple):
    """A sentence for the reader, with text to copy or a link."""

    text: str
    code: str = ""
    link: str = ""


class Wanted(NamedTuple):
    """The part that a request asks for: a search, and a page of each table."""

    search: str = ""
    workloads: int = 1
    namespaces: int = 1
    rules: int = 1


@dataclass
class Sources:
    """The sources of the page's data."""

    cluster: ClusterState
    proxies: Proxies
    journal: Journal
    platform: Platform
    replica: str
    certificates: Callable[[], CertificateFacts | None] = lambda: None
    problems: Callable[[], Sequence[str]] = tuple
    """Returns the current problems, one sentence each."""
    hints: list[Hint] = field(default_factory=list)


class Status(NamedTuple):
    """Everything that one rendering shows."""

    replica: str
    streams: int
    failing: int
    wanted: Wanted
    workloads: Page[Workload]
    namespaces: Page[NamespaceRow]
    rules: Page[RuleRow]
    reviews: Sequence[Reviewed]
    certificates: CertificateFacts | None
    problems: Sequence[str]
    hints: Sequence[Hint]


def look(sources: Sources, wanted: Wanted) -> Status:
    """Gather the data that a request asks for."""
    search = wanted.search.lower()
    workloads = _workloads(sources)
    proxies = Counter(workload.pod[0] for workload in workloads)
    found = [item for item in workloads if search in "/".join(item.pod).lower()]
    names = [item.name for item in sources.cluster.namespaces() if search in item.name.lower()]
    page = _page(names, wanted.namespaces)
    namespaces = [_namespace(sources, name, proxies[name]) for name in page.items]
    rules = _page(_rules(sources, search), wanted.rules)
    return Status(
        replica=sources.replica,
        streams=len(sources.proxies.connected()),
        failing=sum(item.health is Health.FAILING for item in workloads),
        wanted=wanted,
        workloads=_page(found, wanted.workloads),
        namespaces=Page(namespaces, page.number, page.pages, page.total),
        rules=rules,
        reviews=[
            item
            for item in sources.journal.reviews
            if search in f"{item.namespace}/{item.name}".lower()
        ][:ROWS],
        certificates=sources.certificates(),
        problems=[*sources.problems(), *sources.proxies.problems()],
        hints=sources.hints,
    )


def colour_of(value: str) -> int:
    """Return the number of a value's colour, the same on every page and replica."""
    return zlib.crc32(value.encode(errors="replace")) % COLOURS


def _workloads(sources: Sources) -> list[Workload]:
    cluster, platform = sources.cluster, sources.platform
    labels: dict[tuple[str, str], Mapping[str, str]] = {}
    workloads = []
    for pod, (published, report) in sources.proxies.all().items():
        role = DEFAULT_ROLE if report is None else report.role
        key = (role, pod[0])
        if key not in labels:
            labels[key] = series_labels(role, cluster.namespace(pod[0]), platform)
        health = _health(published, report)
        workloads.append(Workload(pod, health, published, report, labels[key]))
    return sorted(workloads, key=lambda item: (_ORDER[item.health], item.pod))


def _health(published: str, report: Report | None) -> Health:
    if report is None:
        return Health.NEW
    is_down = any(not (item.is_up or item.is_guess) for item in report.targets)
    if report.faults or report.policy_error or is_down:
        return Health.FAILING
    return Health.HEALTHY if published else Health.AWAY


def _namespace(sources: Sources, name: str, proxies: int) -> NamespaceRow:
    namespace = sources.cluster.namespace(name)
    labels = {} if namespace is None else namespace.labels
    return NamespaceRow(
        name,
        is_enabled(namespace, sources.platform),
        proxies,
        explain_labels(labels, sources.platform.labels),
    )


def _rules(sources: Sources, search: str) -> list[RuleRow]:
    sending = sources.proxies.sending()
    rows = [
        RuleRow(namespace, verdict, _reach(namespace, verdict), _facts(namespace, verdict, sending))
        for namespace in sources.cluster.namespaces_with("MetricAccess")
        for verdict in judge_namespace(sources.cluster, namespace, sources.platform)
        if search in f"{namespace}/{verdict.name}".lower()
    ]
    return sorted(rows, key=lambda row: (not row.verdict.problems, row.namespace, row.verdict.name))


def _facts(
    namespace: str, verdict: AccessVerdict, sending: Mapping[ObjectName, SendingFacts]
) -> SendingFacts | None:
    if verdict.forwarding.rule is None:
        return None
    return sending.get((namespace, verdict.name), NOTHING_SENT)


def _reach(namespace: str, verdict: AccessVerdict) -> str:
    if verdict.metric_access is None or verdict.grant is None or verdict.metric_access.error:
        return "nothing"
    if verdict.grant.namespaces is None:
        return "every namespace"
    others = sorted(verdict.grant.namespaces - {namespace})
    return ", ".join(["its own namespace", *others])


def _page(items: Iterable[Item], number: int) -> Page[Item]:
    rows = list(items)
    pages = max(1, -(-len(rows) // ROWS))
    number = min(max(1, number), pages)
    return Page(rows[(number - 1) * ROWS : number * ROWS], number, pages, len(rows))
