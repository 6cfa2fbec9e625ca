import asyncio
import time

import pytest

from sidecar.errors import LateError, UpstreamError, UpstreamTimeoutError
from sidecar.model.exposition.limits import Limits
from sidecar.scrape.pods import fan_out
from sidecar.scrape.pods.settings import PodsLimits
from tests.sidecar.apps import App, http, zipped
from tests.sidecar.scrape.pods.apps import scrape, scraper_of, text_of

pytestmark = pytest.mark.anyio


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"a{b=")
        await asyncio.sleep(0.01)


def _large(samples: int, start: int = 0) -> bytes:
    return http(b"".join(b'a{b="%08d"} 1\n' % (start + row) for row in range(samples)))


async def test_a_pod_that_hangs_delays_nobody_beyond_its_deadline() -> None:
    async with App(http(b"a 1\n")) as good, App(_hang) as hanging:
        started = time.monotonic()
        answer = await scrape(scraper_of([hanging, good]), timeout_seconds=0.3)

    assert 0.25 < time.monotonic() - started < 3
    assert isinstance(answer.outcomes[0].error, UpstreamTimeoutError)
    assert 'pod="web-1"} 1' in text_of(answer)


async def test_pods_that_hang_leave_their_places_to_others() -> None:
    limits = PodsLimits(concurrency=2)
    async with App(_hang) as hanging, App(http(b"a 1\n")) as good:
        scraper = scraper_of([hanging] * 8 + [good] * 4, limits=limits)
        answer = await scrape(scraper, timeout_seconds=2)

    assert [outcome.error is None for outcome in answer.outcomes] == [False] * 8 + [True] * 4


async def test_what_was_never_asked_says_so() -> None:
    limits = PodsLimits(concurrency=1)
    async with App(_hang) as hanging:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fan_out, "_HOLD_SHARE", 10)
            answer = await scrape(scraper_of([hanging] * 2, limits=limits), timeout_seconds=0.2)

    expected = "not scraped within 0.2 s: too many other targets were slow"
    assert str(answer.outcomes[1].error) == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (http(b"a 1\r\n"), "line 1: the line ends in CR LF"),
        (http(b"a x\n"), "line 1"),
        (http(b"", status="500 Internal Server Error"), "answered 500"),
        (http(b"", status="401 Unauthorized"), "the aggregate does not pass credentials on"),
        (
            http(b"", status="302 Found", headers={"Location": "http://evil.example/"}),
            "redirected to 'http://evil.example/'",
        ),
        (http(b"<html>", "text/html"), "answered Content-Type 'text/html'"),
        (b"SSH-2.0\r\n", "the response is not HTTP"),
        (zipped(b"a 1\n" * 2_000_000), "more than 1 MiB from one target"),
        (http(b"a 1\n" * 300_000), "more than 1 MiB from one target"),
        (http(b"".join(b"a%d 1\n" % row for row in range(1001))), "more than 1000 samples"),
    ],
)
async def test_a_bad_pod_costs_only_itself(bad: bytes, reason: str) -> None:
    limits = PodsLimits(target=Limits(samples=1000), target_bytes=1 << 20)
    async with App(bad) as broken, App(http(b"a 1\n")) as good:
        answer = await scrape(scraper_of([good, broken], limits=limits))

    assert reason in str(answer.outcomes[1].error)
    assert text_of(answer).startswith('a{namespace="shop",pod="web-0"} 1\n')


async def test_a_body_without_end_ends_with_the_deadline() -> None:
    async with App(_drip) as endless, App(http(b"a 1\n")) as good:
        answer = await scrape(scraper_of([endless, good]), timeout_seconds=0.3)

    assert [outcome.error is None for outcome in answer.outcomes] == [False, True]


async def test_large_answers_are_read_behind_small_ones_and_all_are_there() -> None:
    async with App(_large(30_000)) as one, App(http(b"a 1\n")) as small:
        scraper = scraper_of([one, one, small])
        answers = [await scrape(scraper) for _ in range(2)]

    for answer in answers:
        assert [outcome.samples for outcome in answer.outcomes] == [30_000, 30_000, 1]


async def test_a_large_answer_that_comes_too_late_is_an_error_and_is_read_in_the_end() -> None:
    async with App(_large(20_000)) as large:
        scraper = scraper_of([large])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fan_out.FanOut, "_is_late", lambda self: True)
            late = await scrape(scraper)
        answer = await scrape(scraper)

    assert isinstance(late.outcomes[0].error, LateError)
    assert answer.outcomes[0].samples == 20_000


async def test_large_answers_wait_for_one_another_and_all_are_there() -> None:
    limits = PodsLimits(waiting_bytes=1000)  # one at a time
    async with App(_large(30_000)) as large, App(http(b"a 1\n")) as small:
        answer = await scrape(scraper_of([large, large, large, small], limits=limits))

    assert [outcome.samples for outcome in answer.outcomes] == [30_000, 30_000, 30_000, 1]


async def _stall(writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000000\r\n\r\n"
    writer.write(head + b"a 1\n" * 200_000)
    await asyncio.sleep(60)


async def test_a_large_answer_that_stalls_is_cut_off_where_others_wait() -> None:
    limits = PodsLimits(waiting_bytes=1000)
    async with App(_stall) as stalling, App(_large(30_000)) as large:
        answer = await scrape(scraper_of([stalling, large], limits=limits), timeout_seconds=4)

    expected = "its large response arrived too slowly while others waited"
    assert str(answer.outcomes[0].error) == expected
    assert answer.outcomes[1].samples == 30_000


async def test_those_that_hung_are_asked_after_the_others_the_next_time() -> None:
    limits = PodsLimits(concurrency=1)
    async with App(_hang) as hanging, App(http(b"a 1\n")) as good:
        scraper = scraper_of([hanging, good], limits=limits)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fan_out, "_HOLD_SHARE", 10)
            answers = [await scrape(scraper, timeout_seconds=0.2) for _ in range(2)]

    assert [outcome.error is None for outcome in answers[0].outcomes] == [False, False]
    assert [outcome.error is None for outcome in answers[1].outcomes] == [False, True]


async def test_a_fault_of_ours_costs_only_the_pod_that_met_it() -> None:
    async with App(http(b"a 1\n")) as one, App(http(b"b 1\n")) as other:
        scraper = scraper_of([one, other])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "sidecar.scrape.pods.view.PodsView.text_of",
                lambda self, target, fetched: fetched.body + (b"" if b"b" in fetched.body else 1),
            )
            answer = await scrape(scraper)

    assert str(answer.outcomes[0].error) == "an internal error; see the proxy's log"
    assert answer.outcomes[1].samples == 1


async def test_an_error_holds_nothing_of_what_was_read() -> None:
    async with App(_drip) as dripping:
        answer = await scrape(scraper_of([dripping]), timeout_seconds=0.2)

    error = answer.outcomes[0].error
    assert error is not None
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


async def test_series_that_the_cache_has_no_room_for_are_bounded() -> None:
    limits = PodsLimits(cache_bytes=0, uncached_bytes=1_000_000)
    async with App(_large(500)) as one, App(_large(5000, 1000)) as other:
        answer = await scrape(scraper_of([one, other], limits=limits))

    assert answer.outcomes[0].samples == 500
    assert "the series cache is full" in str(answer.outcomes[1].error)


async def test_no_more_is_read_than_there_is_time_to_write() -> None:
    async with App(_large(60)) as one, App(_large(90, 1000)) as other:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fan_out, "_WRITE_SECONDS", 1.0)
            answer = await scrape(scraper_of([one, other]), timeout_seconds=5)

    assert sorted(isinstance(item.error, LateError) for item in answer.outcomes) == [False, True]


async def test_of_too_many_samples_the_largest_are_left_out() -> None:
    limits = PodsLimits(samples=100)
    async with App(_large(60)) as big, App(_large(90, 1000)) as bigger, App(_large(30)) as small:
        answer = await scrape(scraper_of([bigger, big, small], limits=limits))

    assert [outcome.samples for outcome in answer.outcomes] == [0, 60, 30]
    assert "more than 100 samples from all targets" in str(answer.outcomes[0].error)


async def test_a_pod_that_is_not_there_is_named() -> None:
    async with App(http(b"a 1\n")) as app:
        scraper = scraper_of([app])
    answer = await scrape(scraper)

    assert isinstance(answer.outcomes[0].error, UpstreamError)
    assert "connection refused" in str(answer.outcomes[0].error)


async def test_a_scrape_that_nobody_waits_for_ends_at_once() -> None:
    async with App(_hang) as hanging:
        task = asyncio.create_task(scrape(scraper_of([hanging] * 20), timeout_seconds=30))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) < 60
