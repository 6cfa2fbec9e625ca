from typing import Any

import pytest

from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.remote_write.push import Group, TargetLines, push_line, write_groups
from sidecar.model.remote_write.selection import PlanBudget
from sidecar.model.remote_write.wire import Metadata, MetricType
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.remote_write.test_requests import IDENTITY, sending_rule


def _groups(body: str | None, job_name: str = "", **rule: Any) -> dict[Group, str]:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
    cache = SeriesCache(rewriter, Format.TEXT, Limits())
    lines = TargetLines(sending_rule("{}", **rule), IDENTITY, job_name)
    reading = None if body is None else cache.read(body.encode())
    written = write_groups(lines.write(reading, PlanBudget()))
    return {group: text.decode() for group, (text, _) in written.items()}


def test_series_are_grouped_by_job_and_instance() -> None:
    found = _groups('a{x="1"} 5\nb{job="other"} 6\n')

    assert set(found) == {Group("web", "10.0.0.1:8080"), Group("other", "10.0.0.1:8080")}
    assert found["other", "10.0.0.1:8080"] == 'b{container="web",namespace="shop",pod="web-0"} 6\n'  # type: ignore[index]


def test_types_go_with_their_families() -> None:
    dropped = {"regex": "namespace|pod|container", "action": "labeldrop"}
    (body,) = _groups(
        '# TYPE a counter\na 1\n# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_sum 2\nh_count 1\n',
        metricRelabelings=[dropped],
    ).values()

    assert body == (
        "# TYPE a counter\na 1\n# TYPE h histogram\n"
        'h_bucket{le="+Inf"} 1\nh_sum 2\nh_count 1\nup 1\n'
    )


def test_a_job_that_the_object_names_is_every_group_s_and_the_series_own_is_kept() -> None:
    found = _groups("a 1\n", job_name="batch")

    assert set(found) == {Group("batch", "10.0.0.1:8080")}
    assert 'exported_job="web"' in found[Group("batch", "10.0.0.1:8080")]


def test_a_target_that_is_down_has_no_series_but_up() -> None:
    (body,) = _groups(None).values()

    assert body.startswith("up{")
    assert body.endswith(" 0\n")


def test_a_value_that_no_path_may_have_is_encoded() -> None:
    assert Group("a/b", "").path == "/metrics/job@base64/YS9i"
    assert Group("web", "[::1]:80").path == "/metrics/job/web/instance@base64/Wzo6MV06ODA="


@pytest.mark.parametrize("labels", [{"__name__": "a.b"}, {"__name__": "a", "x.y": "1"}])
def test_names_that_are_not_plain_are_left_out(labels: dict[str, str]) -> None:
    assert push_line(labels, {}, "") is None


def test_label_values_are_escaped() -> None:
    line = push_line({"__name__": "a", "x": 'q"\\\n'}, {}, "j")

    assert line is not None
    assert line.head == b'a{x="q\\"\\\\\\n"} '


def test_an_openmetrics_counter_is_typed_by_its_series_name() -> None:
    families = {"a": Metadata("a", MetricType.COUNTER, "")}
    line = push_line({"__name__": "a_total"}, families, "j")

    assert line is not None
    assert (line.family, line.kind) == ("a_total", "counter")


def test_equal_series_are_written_once_and_counted_once() -> None:
    line = push_line({"__name__": "a"}, {}, "j")
    assert line is not None

    assert write_groups([(line, b"1"), (line, b"2")]) == {Group("j", ""): (b"a 1\n", 1)}
