import pytest

from injector.model import world as world_module
from injector.model.judgement import build_access, judge_namespace
from injector.model.metricaccess import Acceptance, MetricAccess, parse_metric_access
from injector.model.objects import Object
from injector.model.settings import Platform
from injector.model.world import World
from sidecar.model.access import MAX_PATTERNS


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


def test_an_object_is_read_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    read: list[Object] = []

    def parse(obj: Object) -> MetricAccess:
        read.append(obj)
        return parse_metric_access(obj)

    monkeypatch.setattr(world_module, "parse_metric_access", parse)
    _put(world, "a", ["up"])
    for _ in range(2):
        judge_namespace(world, "shop", Platform())
    _put(world, "a", ["down"])

    (judged,) = judge_namespace(world, "shop", Platform())

    assert len(read) == 2
    assert judged.access is not None
    assert judged.access.patterns[0].pattern == "down"
