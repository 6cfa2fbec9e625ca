import base64
import re
from typing import Any

import pytest

from injector.model.access.forwarding import ForwardingPlan
from injector.model.access.reasons import ReadyReason
from injector.model.access.verdicts import judge_namespace, sending_by
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Collect, Platform, RemoteWriteSettings
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.forward import parse_forwarding

_PROMETHEUS = {"type": "prometheus", "prometheus": {"serviceName": "prometheus"}}
_URL = {
    "type": "remote_write",
    "remoteWrite": {
        "url": "https://metrics.example.com/write",
        "bearerTokenSecret": {"name": "receiver", "key": "token"},
    },
}


def _plan(
    platform: Platform | None = None,
    *,
    spec: dict[str, Any] | None = None,
    secret: bool = False,
    **remote: Any,
) -> ForwardingPlan:
    cluster = ClusterState()
    sends = {"enabled": True, "target": _PROMETHEUS, **remote}
    whole = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": sends, **(spec or {})}
    metadata = {"name": "front", "namespace": "shop"}
    cluster.put("MetricAccess", {"metadata": metadata, "spec": whole})
    if secret:
        hosts = {"livery.dev/remote-write-hosts": "metrics.example.com"}
        named = {"name": "receiver", "namespace": "shop", "annotations": hosts}
        data = {"token": base64.b64encode(b"geheim").decode()}
        cluster.put("Secret", {"metadata": named, "data": data})
    (verdict,) = judge_namespace(cluster, "shop", platform or Platform())
    return verdict.forwarding


def test_an_object_becomes_a_rule_that_proxies_read() -> None:
    plan = _plan(interval="1m", extraLabels={"env": "prod"}, honorLabels=True)
    assert plan.rule is not None
    (rule,) = parse_forwarding({"rules": [plan.rule]}, DocumentReader(Origin.FILE)).rules

    assert (rule.name, rule.interval_seconds) == ("front", 60)
    assert rule.sending.extra_labels == {"tenant": "shop", "managed_by": "livery", "env": "prod"}
    assert rule.sending.honor_labels
    assert rule.sending.access.namespaces == frozenset(["shop"])


def test_the_platform_s_labels_may_be_others_and_an_object_s_go_before() -> None:
    settings = RemoteWriteSettings(default_extra_labels={"tenant": "t-{namespace}", "a": "b"})
    plan = _plan(Platform(remote_write=settings), extraLabels={"a": "own"})

    assert plan.rule is not None
    assert plan.rule["extraLabels"] == {"tenant": "t-shop", "a": "own"}


@pytest.mark.parametrize(
    ("remote", "field"),
    [
        ({"extraLabels": {"a-b": "c"}}, r"spec\.remoteWrite\.extraLabels"),
        ({"extraLabels": {"a": "x" * 5000}}, r"extraLabels: more than 4096 characters"),
        (
            {"target": {"type": "remote_write", "remoteWrite": {"url": "https://a_b.c/\u00e4"}}},
            r"receivers\[0\]\.path: "
            r"a path is needed: at most 2048 ASCII characters, first a /, no spaces",
        ),
        (
            {"target": {"type": "remote_write", "remoteWrite": {"url": "https://" + "a" * 260}}},
            r"receivers\[0\]\.host: a host name or an IP address is needed",
        ),
    ],
)
def test_what_a_proxy_would_refuse_is_said_of_the_object(
    remote: dict[str, Any], field: str
) -> None:
    plan = _plan(**remote)

    assert (plan.rule, plan.reason) == (None, ReadyReason.INVALID_TARGET)
    assert re.search(field, plan.message)


@pytest.mark.parametrize("remote", [{"enabled": False}, {"enabled": None}])
def test_what_is_not_enabled_is_not_sent(remote: dict[str, Any]) -> None:
    assert _plan(**remote) == ForwardingPlan()


def test_an_object_that_grants_nothing_sends_nothing() -> None:
    assert _plan(spec={"metrics": ["("]}) == ForwardingPlan()


def test_a_proxy_sends_of_its_own_namespace_alone_whatever_is_granted() -> None:
    plan = _plan(Platform(all_namespaces=True), spec={"metricIsolation": False})

    assert plan.rule is not None
    assert plan.rule["access"]["namespaces"] == ["shop"]


def test_a_collector_reads_what_is_granted() -> None:
    platform = Platform(all_namespaces=True, collectors=("livery/collector",))
    plan = _plan(platform, spec={"metricIsolation": False}, collect="prometheus")

    assert plan.rule is not None
    assert plan.collect is Collect.PROMETHEUS
    assert plan.rule["access"]["namespaces"] == "*"


def test_without_a_collector_nothing_is_pulled_and_that_is_said() -> None:
    plan = _plan(collect="prometheus")

    assert (plan.rule, plan.reason) == (None, ReadyReason.NO_COLLECTOR)


def test_the_chart_says_who_collects_where_the_object_does_not() -> None:
    settings = RemoteWriteSettings(collect=Collect.PROMETHEUS)
    platform = Platform(remote_write=settings, collectors=("livery/collector",))

    assert _plan(platform).collect is Collect.PROMETHEUS
    assert _plan(platform, collect="proxies").collect is Collect.PROXIES


def test_credentials_come_with_the_plan_and_stand_in_no_repr() -> None:
    settings = RemoteWriteSettings(secret_namespaces=("shop",))
    plan = _plan(Platform(remote_write=settings), secret=True, target=_URL)

    assert plan.credentials == {"receiver/token": {"value": "geheim", "revision": "/"}}
    assert "geheim" not in repr(plan)


def test_a_secret_that_may_not_be_used_keeps_the_object_from_sending() -> None:
    plan = _plan(secret=True, target=_URL)

    assert (plan.rule, plan.reason) == (None, ReadyReason.SECRETS_NOT_GRANTED)
    assert plan.message.startswith("nothing is sent: Secret receiver is not read")


def test_plans_are_told_apart_by_who_carries_them_out() -> None:
    cluster = ClusterState()
    for name, collect in (("a", "proxies"), ("b", "prometheus"), ("c", "")):
        remote = {"enabled": bool(collect), "target": _PROMETHEUS, "collect": collect}
        spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote}
        metadata = {"name": name, "namespace": "shop"}
        cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})
    verdicts = judge_namespace(cluster, "shop", Platform(collectors=("livery/collector",)))

    assert list(sending_by(verdicts, Collect.PROXIES)) == ["a"]
    assert list(sending_by(verdicts, Collect.PROMETHEUS)) == ["b"]
