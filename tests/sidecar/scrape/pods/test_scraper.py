import asyncio
from dataclasses import replace

import pytest

from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.policy.aggregate import parse_aggregate_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.scrape.coalescer import ScrapeCoalescer
from sidecar.scrape.pods import scraper as module
from sidecar.scrape.pods.answer import PodsAnswer
from sidecar.scrape.pods.settings import PodsLimits
from sidecar.scrape.request import ScrapeRequest
from tests.sidecar.apps import App, http
from tests.sidecar.scrape.pods.apps import WANTED, pod_target, scrape, scraper_of, text_of

pytestmark = pytest.mark.anyio


def _policy(**document: object) -> SeriesPolicy:
    return parse_aggregate_policy(document).policy.series


async def test_replicas_metrics_become_one_exposition() -> None:
    body = b"# HELP a What.\n# TYPE a counter\na %d\n"
    async with App(http(body % 1)) as one, App(http(body % 2)) as two:
        answer = await scrape(scraper_of([one, two]))

    assert text_of(answer) == (
        "# HELP a What.\n# TYPE a counter\n"
        'a{namespace="shop",pod="web-0"} 1\na{namespace="shop",pod="web-1"} 2\n'
    )


async def test_a_label_edit_is_in_the_next_scrape() -> None:
    async with App(http(b"a 1\n")) as app:
        scraper = scraper_of([app])
        for team in ("blue", "green"):
            scraper.use(_policy(namespaces={"shop": {"team": team}}), {"shop"})
            assert f'team="{team}"' in text_of(await scrape(scraper))


async def test_connections_to_pods_that_stay_are_kept_and_those_to_others_closed() -> None:
    async with App(http(b"a 1\n")) as stays, App(http(b"a 1\n")) as goes:
        scraper = scraper_of([stays, goes])
        await scrape(scraper)
        scraper.set_targets([pod_target("web-0", stays.port), pod_target("new", stays.port)])
        await scrape(scraper)
        await asyncio.sleep(0.05)

        assert (stays.connections, goes.open_connections) == (2, 0)
        scraper.close()


async def test_a_pod_that_moved_to_another_address_is_asked_there() -> None:
    async with App(http(b"a 1\n")) as before, App(http(b"a 2\n")) as after:
        scraper = scraper_of([before])
        await scrape(scraper)
        scraper.set_targets([pod_target("web-0", after.port)])

        assert text_of(await scrape(scraper)).endswith("} 2\n")


async def test_both_addresses_of_a_pod_are_tried() -> None:
    async with App(http(b"a 1\n"), host="::1") as app:
        scraper = scraper_of([])
        target = replace(pod_target("web-0", app.port), addresses=("127.0.0.1", "::1"))
        scraper.set_targets([target])
        answer = await scrape(scraper)

    assert answer.outcomes[0].error is None
    assert f"Host: 127.0.0.1:{app.port}\r\n" in app.requests[0]


async def test_scrapers_that_come_together_share_one_fan_out() -> None:
    async with App(http(b"a 1\n")) as app:
        scrapes: ScrapeCoalescer[PodsAnswer] = ScrapeCoalescer(scraper_of([app]))
        request = ScrapeRequest(WANTED)
        answers = await asyncio.gather(*[scrapes.get(request, 5.0) for _ in range(5)])

        assert len(app.requests) == 1
        assert len({id(answer) for answer in answers}) == 1


async def test_targets_with_series_that_rules_make_equal_are_left_out_and_the_others_stay() -> None:
    bodies = (b'a{x="1"} 1\na{x="2"} 1\n', b"a 1\n")
    async with App(http(bodies[0])) as bad, App(http(bodies[1])) as good:
        scraper = scraper_of([bad, bad, good])
        scraper.use(_policy(metricRelabelings=[{"action": "labeldrop", "regex": "x"}]))
        answer = await scrape(scraper)

    assert "relabel rules made two series identical" in str(answer.outcomes[0].error)
    assert [outcome.error is None for outcome in answer.outcomes] == [False, False, True]
    assert text_of(answer).startswith('a{namespace="shop",pod="web-2"} 1\n')


async def test_a_plan_of_many_series_is_made_in_a_thread() -> None:
    body = http(b"".join(b"a%d 1\n" % row for row in range(100)))
    async with App(body) as app:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "INLINE_ENTRIES", 10)
            answer = await scrape(scraper_of([app]))

    assert answer.samples == 100


async def test_kinds_of_clients_are_cached_for_to_a_bound() -> None:
    kinds = [Negotiated(Format.TEXT, escaping) for escaping in Escaping]
    async with App(http(b"a_b 1\n")) as app:
        scraper = scraper_of([app])
        texts = [text_of(await scrape(scraper, wanted=kind)) for kind in kinds]
        alone = scraper_of([app])
        await scrape(alone, wanted=kinds[0])

    assert len(texts) == 4
    assert scraper.size_bytes <= 2 * alone.size_bytes + 200


async def test_answers_that_are_held_refuse_further_ones() -> None:
    limits = PodsLimits(held_bytes=10)
    async with App(http(b"a 1\n")) as app:
        scraper = scraper_of([app], limits=limits)
        answer = await scrape(scraper)
        assert scraper.is_full
        del answer

        assert not scraper.is_full


async def test_answers_that_clients_gave_up_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.scrape.pods.scraper.GRACE_SECONDS", -10)
    async with App(http(b"a 1\n")) as app:
        scraper = scraper_of([app], limits=PodsLimits(held_bytes=10))
        answer = await scrape(scraper)

        assert not scraper.is_full
        assert answer.is_released


async def test_a_pod_with_a_proxy_of_its_own_has_each_label_once() -> None:
    body = b'a{team="blue"} 1\nlivery_target_up{container="web",team="blue"} 1\n'
    async with App(http(body)) as app:
        scraper = scraper_of([])
        scraper.use(_policy(namespaces={"shop": {"team": "blue"}}))
        scraper.set_targets([pod_target("web-0", app.port, has_proxy=True)])
        answer = await scrape(scraper)

    assert text_of(answer) == (
        'a{team="blue",namespace="shop",pod="web-0"} 1\n'
        'livery_target_up{container="web",team="blue",namespace="shop",pod="web-0"} 1\n'
    )
