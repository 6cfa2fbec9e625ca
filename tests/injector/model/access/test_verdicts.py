from injector.model.access.metricaccess import Acceptance
from injector.model.access.verdicts import MAX_ACCESS_BYTES, build_access, judge_namespace
from injector.model.cluster.state import World
from injector.model.policies import Scope, build_policy
from injector.platform import Platform
from sidecar.model.access.rules import MAX_PATTERNS
from sidecar.model.policy.document import MAX_POLICY_BYTES, encode


def _put(world: World, name: str, metrics: list[str]) -> None:
    metadata = {"name": name, "namespace": "shop"}
    spec = {"metrics": metrics, "metricIsolation": True}
    world.put("MetricAccess", {"metadata": metadata, "spec": spec})


def test_what_passes_the_bound_of_a_namespace_is_left_out_and_says_so() -> None:
    world = World()
    _put(world, "a", ["up"])
    _put(world, "b", ["up"] * MAX_PATTERNS)

    first, second = judge_namespace(world, "shop", Platform())

    assert first.problems == ()
    assert second.acceptance is Acceptance.INVALID
    assert second.problems == (
        f"the namespace has more than {MAX_PATTERNS} patterns; this object is left out",
    )
    assert [rule["name"] for rule in build_access(world, "shop", Platform())] == ["a"]


def test_a_bad_pattern_is_a_problem_and_the_others_count() -> None:
    world = World()
    _put(world, "a", ["up", "("])

    (judged,) = judge_namespace(world, "shop", Platform())

    assert judged.acceptance is Acceptance.SOME_PATTERNS
    assert judged.problems[0].startswith("pattern '(': ")


def test_an_object_is_read_once_until_it_changes() -> None:
    world = World()
    _put(world, "a", ["up"])
    first, again = (judge_namespace(world, "shop", Platform())[0].access for _ in range(2))
    _put(world, "a", ["down"])
    changed = judge_namespace(world, "shop", Platform())[0].access

    assert first is again
    assert changed is not None
    assert changed.patterns[0].pattern == "down"


def test_an_object_too_large_grants_nothing() -> None:
    world = World()
    _put(world, "a", ["x" * 4000 for _ in range(40)])

    (judged,) = judge_namespace(world, "shop", Platform())

    assert judged.acceptance is Acceptance.INVALID
    assert "131072 are allowed" in judged.problems[0]


def test_what_a_namespace_has_beyond_its_bound_is_left_out() -> None:
    world = World()
    for number in range(20):
        _put(world, f"a{number:02}", ["x" * 4000 for _ in range(31)])

    judged = judge_namespace(world, "shop", Platform())

    kept = [item for item in judged if item.access is not None]
    assert 0 < sum(item.access.spec_bytes for item in kept if item.access) <= MAX_ACCESS_BYTES
    assert len(kept) < len(judged)
    assert "over 2 MiB" in judged[-1].problems[0]
    assert len(encode(build_policy(world, Scope("shop"), Platform()))) < MAX_POLICY_BYTES
