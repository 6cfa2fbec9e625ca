from injector.model.access.reasons import ReadyReason
from injector.model.access.verdicts import MAX_ACCESS_BYTES, build_access, judge_namespace
from injector.model.cluster.state import ClusterState
from injector.model.policies.pod import build_pod_policy
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.access.objects import Acceptance
from sidecar.model.access.rules import MAX_PATTERNS
from sidecar.model.policy.document import MAX_POLICY_BYTES, DocumentReader, Origin
from sidecar.model.policy.forward import MAX_RULES, parse_forwarding
from sidecar.model.policy.version import encode


def _put(cluster: ClusterState, name: str, metrics: list[str]) -> None:
    metadata = {"name": name, "namespace": "shop"}
    spec = {"metrics": metrics, "metricIsolation": True}
    cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})


def test_what_passes_the_bound_of_a_namespace_is_left_out_and_says_so() -> None:
    cluster = ClusterState()
    _put(cluster, "a", ["up"])
    _put(cluster, "b", ["up"] * MAX_PATTERNS)

    first, second = judge_namespace(cluster, "shop", Platform())

    assert first.problems == ()
    assert second.acceptance is Acceptance.INVALID
    assert second.problems == (
        f"the namespace has more than {MAX_PATTERNS} patterns; this object is ignored",
    )
    assert [rule["name"] for rule in build_access(cluster, "shop", Platform())] == ["a"]


def test_a_bad_pattern_is_a_problem_and_the_others_count() -> None:
    cluster = ClusterState()
    _put(cluster, "a", ["up", "("])

    (verdict,) = judge_namespace(cluster, "shop", Platform())

    assert verdict.acceptance is Acceptance.SOME_PATTERNS
    assert verdict.problems[0].startswith("pattern '(': ")


def test_an_object_is_read_once_until_it_changes() -> None:
    cluster = ClusterState()
    _put(cluster, "a", ["up"])
    first, again = (judge_namespace(cluster, "shop", Platform())[0].metric_access for _ in range(2))
    _put(cluster, "a", ["down"])
    changed = judge_namespace(cluster, "shop", Platform())[0].metric_access

    assert first is again
    assert changed is not None
    assert changed.patterns[0].pattern == "down"


def test_an_object_too_large_grants_nothing() -> None:
    cluster = ClusterState()
    _put(cluster, "a", ["x" * 4000 for _ in range(40)])

    (verdict,) = judge_namespace(cluster, "shop", Platform())

    assert verdict.acceptance is Acceptance.INVALID
    assert "131072 are allowed" in verdict.problems[0]


def test_objects_beyond_the_number_that_may_send_say_so_and_the_others_send() -> None:
    cluster = ClusterState()
    target = {"type": "prometheus", "prometheus": {"serviceName": "p"}}
    remote = {"enabled": True, "target": target}
    for number in range(MAX_RULES + 2):
        spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote}
        metadata = {"name": f"a{number:03}", "namespace": "shop"}
        cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})
    verdicts = judge_namespace(cluster, "shop", Platform())
    policy = build_pod_policy(cluster, Scope("pod", "shop"), Platform())

    reasons = [item.forwarding.reason for item in verdicts[-3:]]
    assert reasons == [None, ReadyReason.TOO_MANY, ReadyReason.TOO_MANY]
    assert len(policy["forward"]["rules"]) == MAX_RULES
    parse_forwarding(policy["forward"], DocumentReader(Origin.FILE))


def test_what_a_namespace_has_beyond_its_bound_is_left_out() -> None:
    cluster = ClusterState()
    for number in range(20):
        _put(cluster, f"a{number:02}", ["x" * 4000 for _ in range(31)])

    verdict = judge_namespace(cluster, "shop", Platform())

    kept = [item for item in verdict if item.metric_access is not None]
    assert (
        0
        < sum(item.metric_access.spec_bytes for item in kept if item.metric_access)
        <= MAX_ACCESS_BYTES
    )
    assert len(kept) < len(verdict)
    assert "exceed 2 MiB" in verdict[-1].problems[0]
    assert (
        len(encode(build_pod_policy(cluster, Scope("pod", "shop"), Platform()))) < MAX_POLICY_BYTES
    )


def test_the_receivers_of_a_namespace_are_bounded() -> None:
    cluster = ClusterState()
    block = {"serviceName": "p", "replicas": 30, "statefulSetName": "s"}
    target = {"type": "prometheus", "prometheus": block}
    for name in "abcd":
        spec = {"metrics": ["up"], "remoteWrite": {"enabled": True, "target": target}}
        cluster.put("MetricAccess", {"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    reasons = [item.forwarding.reason for item in judge_namespace(cluster, "shop", Platform())]

    assert reasons == [None, None, None, ReadyReason.TOO_MANY]
