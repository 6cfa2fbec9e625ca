import asyncio
from typing import Any

from injector.control.hub import PolicyHub
from injector.control.journal import Journal, Reviewed
from injector.control.proxies import Proxies
from injector.control.reports import Reports
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from injector.web.status.view import (
    COLOURS,
    ROWS,
    Health,
    Sources,
    Status,
    Wanted,
    Workload,
    colour_of,
    look,
)

_UP = {"url": "http://:80/metrics", "up": True, "error": "", "samples": 3}
_GOOD: dict[str, Any] = {"role": "pod", "policyVersion": "x", "targets": [_UP], "samples": 3}


def _sources() -> Sources:
    cluster, platform = ClusterState(), Platform()
    return Sources(
        cluster, Proxies(PolicyHub(cluster, platform), Reports()), Journal(), platform, "replica-1"
    )


def _namespace(sources: Sources, name: str, **labels: str) -> None:
    sources.cluster.put("Namespace", {"metadata": {"name": name, "labels": labels}})


def _healths(status: Status) -> dict[str, Health]:
    return {row.pod[1]: row.health for row in status.workloads.items}


def test_a_node_proxy_wears_no_labels_of_its_own_namespace() -> None:
    sources = _sources()
    _namespace(sources, "shop", team="frontend")
    sources.proxies.reports.put(("shop", "web-0"), _GOOD)
    sources.proxies.reports.put(("shop", "node-0"), {**_GOOD, "role": "node"})

    status = look(sources, Wanted())

    labels = {row.pod[1]: dict(row.labels) for row in status.workloads.items}
    assert labels == {"web-0": {"team": "frontend"}, "node-0": {}}


def test_a_proxy_is_as_well_as_its_stream_and_its_report() -> None:
    sources = _sources()
    down = {**_UP, "up": False}
    sources.proxies.reports.put(("shop", "away"), _GOOD)
    sources.proxies.reports.put(("shop", "well"), _GOOD)
    sources.proxies.reports.put(("shop", "down"), {**_GOOD, "targets": [_UP, down]})
    sources.proxies.reports.put(("shop", "fault"), {**_GOOD, "faults": ["x"]})
    sources.proxies.reports.put(("shop", "policy"), {**_GOOD, "policyError": "x"})
    with (
        sources.proxies.hub.open(Scope("pod", "shop"), "", ("shop", "well")),
        sources.proxies.hub.open(Scope("pod", "shop"), "", ("shop", "new")),
    ):
        status = look(sources, Wanted())

    assert _healths(status) == {
        "down": Health.FAILING, "fault": Health.FAILING, "policy": Health.FAILING,
        "away": Health.AWAY, "new": Health.NEW, "well": Health.HEALTHY,
    }  # fmt: skip
    assert list(_healths(status)) == ["down", "fault", "policy", "away", "new", "well"]
    assert (status.streams, status.failing) == (2, 3)


def test_what_a_proxy_was_told_is_the_policy_in_force() -> None:
    async def edit() -> tuple[Workload, Workload]:
        sources = _sources()
        _namespace(sources, "shop", team="blue")
        with sources.proxies.hub.open(Scope("pod", "shop"), "", ("shop", "web-0")):
            before = look(sources, Wanted()).workloads.items[0]
            _namespace(sources, "shop", team="red")
            sources.proxies.hub.flush()
            return before, look(sources, Wanted()).workloads.items[0]

    before, after = asyncio.run(edit())

    assert (before.labels, after.labels) == ({"team": "blue"}, {"team": "red"})
    assert before.published != after.published


def test_labels_stand_as_they_are_and_as_they_will_appear() -> None:
    sources = _sources()
    labels = {"livery.dev/inject": "enabled", "cost-center": "1"}
    sources.cluster.put("Namespace", {"metadata": {"name": "shop", "labels": labels}})
    sources.proxies.reports.put(("shop", "web-0"), _GOOD)

    (row,) = look(sources, Wanted()).namespaces.items

    assert (row.is_enabled, row.proxies) == (True, 1)
    assert [(item.key, item.name) for item in row.labels] == [
        ("cost-center", "cost_center"),
        ("livery.dev/inject", None),
    ]


def test_rules_with_problems_come_first_with_how_far_they_reach() -> None:
    sources = _sources()
    for name, spec in (
        ("a", {"metrics": ["up"], "metricIsolation": True}),
        ("b", {"metrics": ["up"], "metricIsolation": False}),
        ("c", {"metrics": []}),
    ):
        obj: Object = {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}
        sources.cluster.put("MetricAccess", obj)
    isolated = look(sources, Wanted()).rules.items
    sources.platform = Platform(cross_namespace={"shop": ("bank",)})
    granted = look(sources, Wanted()).rules.items

    assert [(row.verdict.name, row.reach) for row in isolated] == [
        ("b", "its own namespace"), ("c", "nothing"), ("a", "its own namespace"),
    ]  # fmt: skip
    assert ("b", "its own namespace, bank") in [(row.verdict.name, row.reach) for row in granted]


def test_a_large_world_is_shown_a_page_at_a_time() -> None:
    sources = _sources()
    for number in range(ROWS + 1):
        _namespace(sources, f"n{number:03}")
        sources.proxies.reports.put(("shop", f"web-{number:03}"), _GOOD)

    second = look(sources, Wanted(workloads=2, namespaces=99))

    assert [row.pod[1] for row in second.workloads.items] == [f"web-{ROWS:03}"]
    assert (second.workloads.number, second.workloads.pages, second.workloads.total) == (
        2, 2, ROWS + 1,
    )  # fmt: skip
    assert second.namespaces.number == 2
    assert look(sources, Wanted(workloads=0)).workloads.number == 1


def test_a_search_narrows_every_table() -> None:
    sources = _sources()
    for name in ("shop", "bank"):
        _namespace(sources, name)
        sources.proxies.reports.put((name, "web-0"), _GOOD)
        sources.journal.add(Reviewed(0.0, "inject", name, "x", "injected", "", (), False, 0.0))
        obj = {"metadata": {"name": "r", "namespace": name}, "spec": {"metrics": ["up"]}}
        sources.cluster.put("MetricAccess", obj)

    status = look(sources, Wanted(search="SHOP"))

    assert [row.pod for row in status.workloads.items] == [("shop", "web-0")]
    assert [row.name for row in status.namespaces.items] == ["shop"]
    assert [row.namespace for row in status.rules.items] == ["shop"]
    assert [item.namespace for item in status.reviews] == ["shop"]


def test_a_value_has_one_colour() -> None:
    assert colour_of("frontend") == colour_of("frontend")
    assert {colour_of(str(number)) for number in range(200)} == set(range(COLOURS))
