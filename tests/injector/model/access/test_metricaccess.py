from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from injector.errors import ObjectError
from injector.model.access.metricaccess import (
    MetricAccess,
    RemoteWrite,
    TargetType,
    judge_grant,
    parse_metric_access,
)
from injector.model.cluster.objects import Namespace
from injector.platform.settings import Platform
from sidecar.model.access.objects import Acceptance, rule_of
from sidecar.model.access.rules import MAX_PATTERNS, parse_access_rules
from tests.injector.model.pods import JSON

Json = dict[str, Any]

# Objects of the implementation that Livery replaces, as its users have them.
SEED_FIRST = r"""
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata:
  name: my-app-metrics
  namespace: my-app-namespace
spec:
  source: my-app-namespace
  metricIsolation: true
  metrics:
    - "http_requests_total"
    - "http_request_duration_seconds"
    - '{job="my-app"}'
    - "up{job=\"my-app\"}"
  remoteWrite:
    enabled: true
    interval: "30s"
    target:
      type: "prometheus"
      prometheus:
        serviceName: "prometheus-operated"
        servicePort: 9090
        replicas: 2
        statefulSetName: "prometheus-my-app"
    extraLabels:
      tenant: "my-app-namespace"
      managed_by: "multi-tenant-proxy"
    honorLabels: true
    metricRelabelings:
      - sourceLabels: [__name__]
        regex: "container_(.*)"
        targetLabel: metrics_path
        replacement: "/metrics/cadvisor"
      - sourceLabels: [__name__]
        regex: "etcd_debugging_.*"
        action: drop
"""
SEED_PATTERNS = r"""
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: tenant-metrics-access, namespace: tenant-namespace}
spec:
  source: tenant-namespace
  metricIsolation: true
  metrics:
    - "http_requests_total"
    - "http_.*"
    - '{job="my-app"}'
    - '{__name__="up",instance=".*"}'
    - "node_cpu_seconds_total{job=\"node-exporter\"}"
    - '{__name__=~"node_cpu_seconds_total|node_memory_MemAvailable_bytes",job="node"}'
  labelSelectors:
    environment: "production"
    team: "webapp"
"""
SEED_PUSHGATEWAY = """
metadata: {name: push, namespace: a}
spec:
  source: a
  metrics: [up]
  remoteWrite:
    enabled: true
    interval: "60s"
    target:
      type: "pushgateway"
      pushgateway: {serviceName: "pushgateway", servicePort: 9091, jobName: "remote-write-metrics"}
"""
SEED_EXTERNAL = """
metadata: {name: out, namespace: a}
spec:
  source: a
  metrics: [up]
  remoteWrite:
    enabled: true
    interval: "15s"
    target:
      type: "remote_write"
      remoteWrite:
        url: "https://external-prometheus.example.com/api/v1/write"
        basicAuth:
          username: "monitoring-user"
          passwordSecret: {name: "prometheus-auth", key: "password"}
        headers: {X-Tenant: "my-team"}
"""
SEED_DEBUG = """
metadata: {name: debug-tenant-metrics, namespace: debug-tenant}
spec:
  source: debug-tenant
  metricIsolation: false
  metrics: ['kube_pod_info', 'kube_node_info', 'up']
"""


def _access(**spec: Any) -> MetricAccess:
    metadata = {"name": "a", "namespace": "blue", "generation": 3}
    return parse_metric_access({"metadata": metadata, "spec": {"metrics": ["up"], **spec}})


def _remote(**remote: Any) -> RemoteWrite:
    access = _access(remoteWrite=remote)
    assert access.error == ""
    assert access.remote_write is not None
    return access.remote_write


@pytest.mark.parametrize(
    "text", [SEED_FIRST, SEED_PATTERNS, SEED_PUSHGATEWAY, SEED_EXTERNAL, SEED_DEBUG],
    ids=["first", "patterns", "pushgateway", "external", "debug"],
)  # fmt: skip
def test_documents_of_the_seed_are_accepted_unchanged(text: str) -> None:
    access = parse_metric_access(yaml.safe_load(text))

    assert (access.error, access.acceptance) == ("", Acceptance.ACCEPTED)


def test_the_first_document_of_the_seed_is_read_whole() -> None:
    access = parse_metric_access(yaml.safe_load(SEED_FIRST))
    remote = access.remote_write

    assert (access.name, access.source, access.is_isolated) == (
        "my-app-metrics", "my-app-namespace", True)  # fmt: skip
    assert len(access.metric_relabelings) == 2
    assert remote is not None
    assert (remote.enabled, remote.interval_seconds, remote.honor_labels) == (True, 30.0, True)
    assert remote.target["statefulSetName"] == "prometheus-my-app"
    assert remote.extra_labels["managed_by"] == "multi-tenant-proxy"


def test_patterns_are_read_as_the_seed_documents_them() -> None:
    access = parse_metric_access(yaml.safe_load(SEED_PATTERNS))

    assert [fact.kind for fact in access.patterns] == ["exact", "regex", *["selector"] * 4]
    assert [fact.note for fact in access.patterns] == [
        "", "", "", 'instance=".*" is read as =~', "", ""]  # fmt: skip
    assert access.label_selectors == {"environment": "production", "team": "webapp"}


def test_a_bad_pattern_is_named_and_the_others_stay() -> None:
    access = _access(metrics=["up", "a{", "(", 5, "", "b.*"])
    rule = rule_of(access, judge_grant(access, None, Platform()))

    assert access.acceptance is Acceptance.SOME_PATTERNS
    assert [fact.pattern for fact in access.patterns if not fact.is_valid] == ["a{", "(", "5", ""]
    assert all(fact.note for fact in access.patterns if not fact.is_valid)
    assert rule is not None
    assert rule["patterns"] == ["up", "b.*"]


def test_bad_patterns_alone_grant_nothing() -> None:
    access = _access(metrics=["("])

    assert rule_of(access, judge_grant(access, None, Platform())) is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([], "spec"),
        ({}, "spec.metrics"),
        ({"metrics": []}, "spec.metrics"),
        ({"metrics": "up"}, "spec.metrics"),
        ({"metrics": ["up"] * (MAX_PATTERNS + 1)}, "spec.metrics"),
        ({"metrics": ["up"], "metricIsolation": "true"}, "spec.metricIsolation"),
        ({"metrics": ["up"], "source": 5}, "spec.source"),
        ({"metrics": ["up"], "labelSelectors": {"a": 1}}, "spec.labelSelectors.a"),
        ({"metrics": ["up"], "labelSelectors": ["a"]}, "spec.labelSelectors"),
        ({"metrics": ["up"], "remoteWrite": []}, "spec.remoteWrite"),
        (
            {"metrics": ["up"], "remoteWrite": {"metricRelabelings": [{"regex": "("}]}},
            "spec.remoteWrite.metricRelabelings[0].regex",
        ),
    ],
    ids=str,
)
def test_a_malformed_object_grants_nothing_and_says_where(spec: Any, field: str) -> None:
    access = parse_metric_access({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})

    assert field in access.error
    assert access.acceptance is Acceptance.INVALID
    assert rule_of(access, judge_grant(access, None, Platform(all_namespaces=True))) is None


@pytest.mark.parametrize(
    ("remote", "field"),
    [
        ({"target": {"type": "kafka"}}, "target.type"),
        ({"collect": "all"}, "spec.remoteWrite.collect"),
        ({"extraLabels": {"a": 1}}, "extraLabels.a"),
    ],
    ids=str,
)
def test_what_is_wrong_with_sending_takes_no_reading_away(remote: Any, field: str) -> None:
    access = _access(metrics=["up"], remoteWrite=remote)

    assert field in access.remote_write_error
    assert access.remote_write is None
    assert rule_of(access, judge_grant(access, None, Platform())) is not None


@pytest.mark.parametrize("metadata", [[], {"name": 1}, {"namespace": []}])
def test_an_object_without_a_usable_name_is_an_error(metadata: object) -> None:
    with pytest.raises(ObjectError):
        parse_metric_access({"metadata": metadata, "spec": {"metrics": ["up"]}})


_GRANTED = Platform(cross_namespace={"blue": ("green",)})
_GRANTED_ALL = Platform(cross_namespace={"blue": ("*",)})
_ANNOTATED = Platform(grants_from_annotations=True)
_SEED = Platform(all_namespaces=True)
_ALL_OPEN: Json = {"metricIsolation": False}
_RED_TOO: Json = {"metricIsolation": True, "source": "red"}
_GREEN_TOO: Json = {"metricIsolation": True, "source": "green"}


@pytest.mark.parametrize(
    ("spec", "platform", "annotation", "namespaces", "is_noted"),
    [
        ({"metricIsolation": True}, Platform(), "", {"blue"}, False),
        ({"metricIsolation": True}, _SEED, "", {"blue"}, False),
        ({"metricIsolation": True, "source": "blue"}, Platform(), "", {"blue"}, False),
        ({}, Platform(), "", {"blue"}, True),
        ({"metricIsolation": None}, Platform(), "", {"blue"}, True),
        (_ALL_OPEN, Platform(), "", {"blue"}, True),
        (_ALL_OPEN, _GRANTED, "", {"blue", "green"}, False),
        (_ALL_OPEN, _GRANTED_ALL, "", None, False),
        (_ALL_OPEN, _SEED, "", None, False),
        (_ALL_OPEN, Platform(), "*", {"blue"}, True),
        (_ALL_OPEN, _ANNOTATED, "*", None, False),
        (_ALL_OPEN, _ANNOTATED, " green , red,", {"blue", "green", "red"}, False),
        (_ALL_OPEN, _ANNOTATED, "", {"blue"}, True),
        (_RED_TOO, Platform(), "", {"blue"}, True),
        (_RED_TOO, _GRANTED, "", {"blue"}, True),
        (_GREEN_TOO, _GRANTED, "", {"blue", "green"}, False),
        (_RED_TOO, _SEED, "", {"blue", "red"}, False),
        (_RED_TOO, _ANNOTATED, "*", {"blue", "red"}, False),
    ],
    ids=[
        "own", "own-though-seed-compatible", "own-named", "omitted-ungranted", "null-ungranted",
        "open-ungranted", "open-granted-a-list", "open-granted-all", "open-seed-compatible",
        "open-annotation-not-honoured", "open-annotation-all", "open-annotation-list",
        "open-annotation-empty", "source-ungranted", "source-granted-another", "source-granted",
        "source-seed-compatible", "source-annotation-all",
    ],
)  # fmt: skip
def test_reading_elsewhere_is_the_platforms_word(
    spec: Json, platform: Platform, annotation: str, namespaces: set[str] | None, is_noted: bool
) -> None:
    namespace = Namespace("blue", {}, {"livery.dev/metric-sources": annotation})

    grant = judge_grant(_access(**spec), namespace, platform)

    assert grant.namespaces == (None if namespaces is None else frozenset(namespaces))
    assert bool(grant.note) is is_noted


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"metricIsolation": False}, "metricIsolation: false is"),
        ({}, "reading every namespace (metricIsolation is not set) is"),
        ({"metricIsolation": None}, "reading every namespace (metricIsolation is not set) is"),
        ({"metricIsolation": True, "source": "red"}, "source: red is"),
        ({"metricIsolation": False, "source": "red"}, "source: red and metricIsolation: false are"),
    ],
)
def test_what_is_not_granted_is_named_as_the_object_says_it(spec: Json, refused: str) -> None:
    grant = judge_grant(_access(**spec), None, Platform())

    assert grant.note == f"{refused} not granted by the platform; isolation holds"


def test_a_source_that_is_not_granted_is_named_though_others_are() -> None:
    grant = judge_grant(_access(source="red", metricIsolation=False), None, _GRANTED)

    assert grant.namespaces == frozenset(["blue", "green"])
    assert grant.note.startswith("source: red is not granted")


def test_an_unknown_namespace_grants_nothing_by_annotation() -> None:
    assert judge_grant(_access(**_ALL_OPEN), None, _ANNOTATED).namespaces == frozenset(["blue"])


@pytest.mark.parametrize("place", ["beside", "within"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [("prometheus", "prometheus"), ("pushgateway", "pushgateway"), ("remote_write", "remoteWrite")],
)
def test_a_target_block_is_found_in_both_places(place: str, kind: str, name: str) -> None:
    block = {name: {"url": "x", "serviceName": "y"}}
    remote = {"target": {"type": kind, **(block if place == "within" else {})}}

    read = _remote(**remote, **(block if place == "beside" else {}))

    assert read.target_type is TargetType(kind)
    assert read.target == block[name]


@pytest.mark.parametrize("place", ["beside", "within"])
def test_extra_labels_honor_and_relabelings_are_found_in_both_places(place: str) -> None:
    fields = {
        "extraLabels": {"a": "b"},
        "honorLabels": True,
        "metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
    }
    remote = (
        {"enabled": True, "target": fields} if place == "within" else {**fields, "enabled": True}
    )

    access = _access(remoteWrite=remote)

    assert access.remote_write is not None
    assert access.remote_write.extra_labels == {"a": "b"}
    assert access.remote_write.honor_labels
    assert len(access.metric_relabelings) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 30), ("5s", 5), ("30s", 30), ("1m", 60), ("1m30s", 90), ("1.5h", 5400), ("2h", 7200),
     ("5000ms", 5), ("1m0.5s", 60.5)],
)  # fmt: skip
def test_an_interval_is_read_as_go_does(text: str, seconds: float) -> None:
    assert _remote(enabled=True, interval=text).interval_seconds == seconds


@pytest.mark.parametrize(
    "text", ["4.9s", "1ms", "0s", "30", "s", "-5s", "1d", "5 s", "٣s", "9" * 99]
)
def test_a_bad_interval_is_named(text: str) -> None:
    access = _access(remoteWrite={"interval": text})
    assert "spec.remoteWrite.interval" in access.remote_write_error


def test_no_remote_write_is_none_and_one_not_enabled_is_off() -> None:
    assert _access().remote_write is None
    assert _access(remoteWrite={}).remote_write is None
    assert not _remote(interval="30s").enabled


_SPEC_FIELDS = ["source", "metricIsolation", "metrics", "labelSelectors", "remoteWrite", "target",
                "interval", "type", "prometheus", "extraLabels", "metricRelabelings", "regex",
                "up", "true"]  # fmt: skip
_SPECS = st.recursive(
    JSON | st.sampled_from(_SPEC_FIELDS) | st.lists(st.text(max_size=9), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(_SPEC_FIELDS), inner, max_size=5),
    max_leaves=12,
)


@given(_SPECS)
def test_no_object_raises_and_every_rule_is_one_that_proxies_read(spec: Any) -> None:
    obj = {"metadata": {"name": "a", "namespace": "blue"}, "spec": spec}
    access = parse_metric_access(obj)
    rule = rule_of(access, judge_grant(access, None, Platform()))

    if rule is not None:
        parse_access_rules([rule], "access")
        assert rule["namespaces"] == ["blue"]
