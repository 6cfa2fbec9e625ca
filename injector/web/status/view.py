"""What the page shows: the present state as values, a page at a time."""

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
from injector.model.cluster.state import ClusterState
from injector.model.roles import DEFAULT_ROLE, series_labels
from injector.platform.settings import Platform
from sidecar.model.described import Described
from sidecar.model.labels.namespace_labels import ExplainedLabel, explain_labels

ROWS = 25
"""Of one table on one page: the first page stays small however large the cluster is."""
PROBLEMS_SHOWN = 8
PATTERNS_SHOWN = 12
"""Of one object; how many more there are is said."""
COLOURS = 12
"""Label values are told apart by as many colours."""

Item = TypeVar("Item")


class Health(Described):
    """State of a proxy, the worst first."""

    FAILING = "failing", "a target is down, or a setting or policy cannot be used"
    AWAY = "away", "it has reported, but has no stream to any replica"
    NEW = "new", "it is connected and has not reported yet"
    WELL = "well", "every target answers, and the whole policy is active"


_ORDER = {health: number for number, health in enumerate(Health)}


class Workload(NamedTuple):
    """One proxy and what it is beside."""

    pod: Pod
    health: Health
    published: str
    """Version of the policy that it was sent last; empty without a stream."""
    report: Report | None
    labels: Mapping[str, str]
    """Labels of its series once the present policy is active."""


class NamespaceRow(NamedTuple):
    """One namespace, its labels as they are and as they will appear."""

    name: str
    is_enabled: bool
    proxies: int
    labels: Sequence[ExplainedLabel]


class RuleRow(NamedTuple):
    """One MetricAccess object."""

    namespace: str
    verdict: AccessVerdict
    reach: str
    """Where it may read, in words."""
    facts: SendingFacts | None
    """How its sending goes; None where it sends nothing."""


class Page(NamedTuple, Generic[Item]):
    """One page of a table."""

    items: Sequence[Item]
    number: int
    """From 1."""
    pages: int
    """How many there are."""
    total: int
    """How many rows in all."""


class CertificateFacts(NamedTuple):
    """What the injector serves with."""

    leaf_ends: datetime
    authority_ends: datetime
    fingerprint: str
    names: Sequence[str]


class Hint(NamedTuple):
    """A sentence for whoever looks, with something to copy or to follow."""

    text: str
    code: str = ""
    link: str = ""


class Wanted(NamedTuple):
    """Which part of everything is asked for."""

    search: str = ""
    workloads: int = 1
    namespaces: int = 1
    rules: int = 1


@dataclass
class Sources:
    """Where the page looks."""

    cluster: ClusterState
    proxies: Proxies
    journal: Journal
    platform: Platform
    replica: str
    certificates: Callable[[], CertificateFacts | None] = lambda: None
    problems: Callable[[], Sequence[str]] = tuple
    """What cannot be read now, a sentence each."""
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
    """Gather what is asked for."""
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
    return Health.WELL if published else Health.AWAY


def _namespace(sources: Sources, name: str, proxies: int) -> NamespaceRow:
    namespace = sources.cluster.namespace(name)
    labels = {} if namespace is None else namespace.labels
    return NamespaceRow(
        name,
        namespace is not None and namespace.is_labelled,
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
