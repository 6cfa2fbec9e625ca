import asyncio

import pytest

from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.exposition.timeouts import scrape_timeout
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import parse_target
from sidecar.scrape.answers import render_scrape
from sidecar.scrape.coalescer import BusyError, ScrapeCoalescer
from sidecar.scrape.rendering import Scrape
from sidecar.scrape.request import ScrapeRequest
from sidecar.scrape.scraper import Scraper
from tests.sidecar.apps import App, http, until

pytestmark = pytest.mark.anyio

_WANTED = Negotiated(Format.TEXT, Escaping.UNDERSCORES)


def _ask(query: str = "", passed: str = "") -> ScrapeRequest:
    return ScrapeRequest(_WANTED, query, (("x-passed", passed),) if passed else ())


class _Gate:
    """An application that answers one request per call of `open`."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)
        self.app = App(self._answer)

    def open(self) -> None:
        self._permits.release()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        await self._permits.acquire()
        writer.write(http(b"a 1\n"))

    def scraper(self) -> Scraper:
        return Scraper([parse_target(self.app.target)], RewriteContext())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("10", 9.5), ("1", 0.9), ("0.001", 0.0009), ("1e9", 120.0), ("", 9.0), ("x", 9.0),
        ("nan", 9.0), ("inf", 9.0), ("-1", 9.0), ("0", 9.0), ("1, 2", 9.0),
        ("9" * 5000, 9.0),
    ],
)  # fmt: skip
def test_the_time_for_a_scrape_is_the_clients_less_a_margin(header: str, seconds: float) -> None:
    headers = {"x-prometheus-scrape-timeout-seconds": header}

    assert scrape_timeout(headers) == pytest.approx(seconds)


def test_without_a_header_the_time_is_the_default() -> None:
    assert scrape_timeout({}) == 9.0


@pytest.mark.parametrize(
    ("header", "is_zipped"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip ; q=0.1", True), ("gzip;q=1.0", True),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("", False), ("identity", False),
        ("*", False), ("x-gzip", False), ("br," * 40 + "gzip", False),
    ],
)  # fmt: skip
def test_an_answer_is_compressed_for_those_who_say_gzip(header: str, is_zipped: bool) -> None:
    shared = Scrape(200, b"a 1\n" * 200, Format.TEXT, ())

    response = render_scrape(shared, _WANTED, {"accept-encoding": header})

    assert (("Content-Encoding", "gzip") in response.headers) == is_zipped


def test_a_small_answer_stays_plain() -> None:
    shared = Scrape(200, b"a 1\n", Format.TEXT, ())

    assert render_scrape(shared, _WANTED, {"accept-encoding": "gzip"}).body == b"a 1\n"


def test_an_answer_is_compressed_once_for_all() -> None:
    shared = Scrape(200, b"a 1\n" * 200, Format.TEXT, ())
    headers = {"accept-encoding": "gzip"}

    first, second = (render_scrape(shared, _WANTED, headers) for _ in range(2))

    assert first.body is second.body


async def test_scrapes_of_different_kinds_follow_one_another() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        tasks = [asyncio.create_task(scrapes.get(_ask(query), 3.0)) for query in ("a", "b")]
        await until(lambda: len(gate.app.requests) == 1)
        gate.open()
        await until(lambda: len(gate.app.requests) == 2)
        gate.open()

        assert [(await task).status for task in tasks] == [200, 200]


async def test_any_number_of_clients_join_a_scrape_for_nothing() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        tasks = [asyncio.create_task(scrapes.get(_ask(), 3.0, "1.1.1.1")) for _ in range(40)]
        await until(lambda: len(gate.app.requests) == 1)
        gate.open()

        assert {id(await task) for task in tasks} == {id(tasks[0].result())}
        assert len(gate.app.requests) == 1


async def test_a_client_may_have_two_different_scrapes_waiting() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        tasks = [
            asyncio.create_task(scrapes.get(_ask(query), 3.0, "1.1.1.1")) for query in ("a", "b")
        ]
        await until(lambda: len(gate.app.requests) == 1)
        with pytest.raises(BusyError, match="too many different scrapes"):
            await scrapes.get(_ask("c"), 3.0, "1.1.1.1")
        gate.open()
        gate.open()

        assert [(await task).status for task in tasks] == [200, 200]


async def test_a_scrape_without_a_query_goes_before_those_with_one() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        others = [
            asyncio.create_task(scrapes.get(_ask(f"q={i}"), 3.0, f"1.1.1.{i % 4}"))
            for i in range(8)
        ]
        await until(lambda: len(gate.app.requests) == 1)
        usual = asyncio.create_task(scrapes.get(_ask(), 3.0, "2.2.2.2"))
        await asyncio.sleep(0)
        gate.open()
        gate.open()

        assert (await usual).status == 200
        assert len(gate.app.requests) <= 3
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_client_with_nothing_waiting_takes_the_place_of_anothers_second() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        greedy = [
            asyncio.create_task(scrapes.get(_ask(passed=str(i)), 3.0, f"1.1.1.{i // 2}"))
            for i in range(8)
        ]
        await until(lambda: len(gate.app.requests) == 1)
        fair = asyncio.create_task(scrapes.get(_ask(), 3.0, "2.2.2.2"))
        await asyncio.sleep(0)
        for _ in range(8):
            gate.open()

        assert (await fair).status == 200
        results = await asyncio.gather(*greedy, return_exceptions=True)
        assert [isinstance(result, BusyError) for result in results] == [False] * 7 + [True]


async def test_clients_take_turns() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        asked = [("1.1.1.1", "a"), ("1.1.1.1", "b"), ("2.2.2.2", "c")]
        tasks = [asyncio.create_task(scrapes.get(_ask(query), 3.0, peer)) for peer, query in asked]
        await until(lambda: len(gate.app.requests) == 1)
        for _ in asked:
            gate.open()
        await asyncio.gather(*tasks)

        assert [text.split(" ")[1][-1] for text in gate.app.requests] == ["a", "c", "b"]


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        leaving, staying = (asyncio.create_task(scrapes.get(_ask(), 3.0)) for _ in range(2))
        await until(lambda: len(gate.app.requests) == 1)
        leaving.cancel()
        gate.open()

        assert (await staying).status == 200


async def test_when_all_have_left_the_scrape_ends_and_the_next_begins_anew() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        leaving = asyncio.create_task(scrapes.get(_ask(), 3.0))
        await until(lambda: len(gate.app.requests) == 1)
        leaving.cancel()
        await asyncio.sleep(0)
        staying = asyncio.create_task(scrapes.get(_ask(), 3.0))
        await until(lambda: len(gate.app.requests) == 2)
        gate.open()
        gate.open()

        assert (await staying).status == 200
        assert gate.app.connections == 2


async def test_a_hasty_client_does_not_fail_the_scrape_of_a_patient_one() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        hasty = asyncio.create_task(scrapes.get(_ask(), 0.05))
        await until(lambda: len(gate.app.requests) == 1)
        patient = asyncio.create_task(scrapes.get(_ask(), 3.0))
        assert (await hasty).status == 504
        gate.open()
        gate.open()

        assert (await patient).status == 200


async def test_who_has_little_time_is_not_held_up_by_one_who_has_much() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper(), max_active=2)
        patient = asyncio.create_task(scrapes.get(_ask(), 60.0))
        await until(lambda: len(gate.app.requests) == 1)
        hasty = asyncio.create_task(scrapes.get(_ask(), 0.1))

        assert (await asyncio.wait_for(hasty, 5)).status == 504
        assert not patient.done()
        gate.open()
        assert (await patient).status == 200


async def test_who_waits_for_a_turn_waits_no_longer_than_it_has_time() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper())
        patient = asyncio.create_task(scrapes.get(_ask("a"), 60.0))
        await until(lambda: len(gate.app.requests) == 1)

        with pytest.raises(BusyError, match="timed out while waiting for other scrapes"):
            await asyncio.wait_for(scrapes.get(_ask("b"), 0.1), 5)
        gate.open()
        assert (await patient).status == 200


async def test_one_that_ends_soon_is_joined_however_much_time_it_had() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper(), max_active=2)
        early = asyncio.create_task(scrapes.get(_ask(), 2.0))
        await until(lambda: len(gate.app.requests) == 1)
        late = asyncio.create_task(scrapes.get(_ask(), 1.8))
        await asyncio.sleep(0)
        gate.open()

        assert await early is await late
        assert len(gate.app.requests) == 1


async def test_while_too_much_is_unsent_nothing_is_scraped() -> None:
    gate = _Gate()
    async with gate.app:
        scrapes = ScrapeCoalescer(gate.scraper(), lambda: True)
        with pytest.raises(BusyError, match="clients have not read earlier responses yet"):
            await scrapes.get(_ask(), 3.0)

    assert not gate.app.requests


async def test_who_asks_after_a_policy_came_does_not_join_an_older_scrape() -> None:
    gate = _Gate()
    async with gate.app:
        scraper = gate.scraper()
        shares = ScrapeCoalescer(scraper)
        scraper.use(parse_pod_policy({"labels": {"team": "old"}}).series)
        first = asyncio.create_task(shares.get(_ask(), 5))
        await until(lambda: bool(gate.app.requests))
        scraper.use(parse_pod_policy({"labels": {"team": "new"}}).series)
        second = asyncio.create_task(shares.get(_ask(), 5))
        await asyncio.sleep(0)
        gate.open()
        gate.open()

        assert b'team="new"' in (await second).body
        await first
        assert len(gate.app.requests) == 2
        scraper.close()
