import pytest

from sidecar.errors import UpstreamError
from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import parse_target
from sidecar.scrape.fetch import Fetched
from sidecar.scrape.rendering import Collected, Scrape, render
from sidecar.scrape.settings import ScrapeLimits
from sidecar.scrape.view import Outcome, ScrapeView

_WANTED = Negotiated(Format.TEXT, Escaping.UNDERSCORES)


_NOTHING = SeriesPolicy()


def _render(
    *bodies: bytes,
    limit_bytes: int = 1 << 20,
    policy: SeriesPolicy = _NOTHING,
) -> Scrape:
    """Render the bodies of targets `a`, `b`, …; an empty body is a target that is down."""
    targets = [parse_target(f"{name}=http://:80/") for name, _ in zip("abc", bodies, strict=False)]
    context = RewriteContext(target_label="container")
    view = ScrapeView(policy, context, targets, _WANTED, limits=Limits())
    outcomes: list[Outcome] = [
        view.read(at, Fetched(body, "text/plain"), lambda: False) if body else UpstreamError("down")
        for at, body in enumerate(bodies)
    ]
    collected = Collected(view, targets, outcomes, [0.5] * len(bodies))
    return render(collected, limit_bytes)


def _values(scrape: Scrape) -> set[str]:
    return {line for line in scrape.body.decode().splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("bodies", [(b"",), (b"", b"")])
def test_a_scrape_whose_targets_all_fail_fails(bodies: tuple[bytes, ...]) -> None:
    scrape = _render(*bodies)

    assert scrape.status == 502
    assert scrape.body.count(b"down") == len(bodies)


def test_good_targets_are_served_beside_bad_ones() -> None:
    scrape = _render(b"m 1\n", b"")

    assert scrape.status == 200
    assert {
        'm{container="a"} 1',
        'livery_target_up{container="a"} 1', 'livery_target_up{container="b"} 0',
        'livery_target_scrape_duration_seconds{container="b"} 0.5',
        'livery_target_samples{container="a"} 1',
    } <= _values(scrape)  # fmt: skip


def test_a_target_that_cannot_be_merged_is_down_and_says_why() -> None:
    policy = parse_pod_policy(
        {"metricRelabelings": [{"action": "labeldrop", "regex": "container"}]}
    ).series
    scrape = _render(b"m 1\n", b"m 2\n", policy=policy)

    assert scrape.status == 200
    assert "m is also a series of another target" in str(scrape.results[1].error)
    assert "m 1" in _values(scrape)
    assert b"\n# b: m is also a series of another target\n" in scrape.body


def test_an_answer_over_the_bound_is_refused_with_both_sizes() -> None:
    scrape = _render(b"m 1\n" + b"n 1\n" * 10, limit_bytes=20)

    assert scrape.status == 502
    expected = b"the response with labels would be 44 bytes; at most 20 are allowed"
    assert scrape.body == expected


def test_the_limits_of_a_scrape_are_those_of_a_pod_by_default() -> None:
    limits = ScrapeLimits()

    assert (limits.target_bytes, limits.scrape_bytes, limits.answer_bytes) == (
        10 << 20, 24 << 20, 24 << 20,
    )  # fmt: skip
    assert limits.target.samples == 50_000
