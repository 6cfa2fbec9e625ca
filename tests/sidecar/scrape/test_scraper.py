import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import parse_target
from sidecar.scrape import scraper as scraper_module
from sidecar.scrape import view as view_module
from sidecar.scrape.coalescer import ScrapeCoalescer
from sidecar.scrape.rendering import Scrape
from sidecar.scrape.request import ScrapeRequest
from sidecar.scrape.scraper import Scraper
from sidecar.scrape.settings import ScrapeLimits
from tests.sidecar.apps import OPENMETRICS, App, http, until

pytestmark = pytest.mark.anyio

_WANTED = Negotiated(Format.TEXT, Escaping.UNDERSCORES)


@contextlib.asynccontextmanager
async def _scraper(*apps: App, label: str = "container") -> AsyncIterator[Scraper]:
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app)
        targets = [parse_target(f"t{index}={app.target}") for index, app in enumerate(apps)]
        scraper = Scraper(targets, RewriteContext(target_label=label))
        yield scraper
        scraper.close()


async def _scrape(
    scraper: Scraper, wanted: Negotiated = _WANTED, timeout_seconds: float = 3.0
) -> Scrape:
    return await scraper.scrape(ScrapeRequest(wanted), timeout_seconds)


def _errors(scrape: Scrape) -> Sequence[str]:
    return [str(result.error or "") for result in scrape.results]


def _letters(number: int) -> bytes:
    return bytes(97 + number // 26**place % 26 for place in range(4))


def _series(count: int, name: bytes = b"a") -> bytes:
    return b"".join(b'%b{i="%d"} 1\n' % (name, number) for number in range(count))


async def test_without_a_policy_a_scrape_changes_nothing() -> None:
    async with _scraper(App(http(b"a 1\n"))) as scraper:
        scrape = await _scrape(scraper)

    assert (scrape.status, scrape.body, scrape.samples_out) == (200, b"a 1\n", 1)


async def test_what_is_remembered_is_forgotten_under_another_policy() -> None:
    async with _scraper(App(http(b"a 1\n"))) as scraper:
        await _scrape(scraper)
        assert scraper.cached_bytes > 0
        scraper.use(parse_pod_policy({"labels": {"team": "blue"}}).series)
        assert scraper.cached_bytes == 0

        assert (await _scrape(scraper)).body == b'a{team="blue"} 1\n'
        scraper.use(SeriesPolicy())
        assert (await _scrape(scraper)).body == b"a 1\n"


async def test_what_is_remembered_of_all_kinds_of_clients_is_bounded() -> None:
    async with _scraper(App(http(_series(8_000))), App(http(_series(8_000)))) as scraper:
        for escaping in Escaping:
            await _scrape(scraper, Negotiated(Format.TEXT, escaping))
            assert 0 < scraper.cached_bytes <= ScrapeLimits().cache_bytes


async def test_each_kind_of_client_gets_its_own_names() -> None:
    async with _scraper(App(http(b'{"a.b"} 1\n'))) as scraper:
        bodies = [
            (await _scrape(scraper, Negotiated(Format.TEXT, escaping))).body
            for _ in range(2)
            for escaping in (Escaping.UNDERSCORES, Escaping.ALLOW_UTF8, Escaping.DOTS)
        ]

    assert bodies == [b"a_b 1\n", b'{"a.b"} 1\n', b"a_dot_b 1\n"] * 2


async def test_a_target_may_change_its_format_between_scrapes() -> None:
    app = App(http(b"# TYPE a gauge\na 1\n# EOF\n", OPENMETRICS))
    wanted = Negotiated(Format.OPENMETRICS, Escaping.UNDERSCORES)
    async with _scraper(app) as scraper:
        formats = [(await _scrape(scraper, wanted)).fmt]
        app.answer = http(b"a 1\n")
        formats.append((await _scrape(scraper, wanted)).fmt)

    assert formats == [Format.OPENMETRICS, Format.TEXT]


async def test_all_targets_together_have_a_bound_of_samples() -> None:
    apps = [App(http(_series(30_000))), App(http(_series(30_000))), App(http(_series(10)))]
    async with _scraper(*apps) as scraper:
        scrape = await _scrape(scraper)

    bound = "more than 50000 samples from all targets in one scrape"
    assert _errors(scrape) == ["", bound, ""]
    assert b'livery_target_up{container="t1"} 0\n' in scrape.body


async def test_all_targets_together_have_a_bound_of_bytes() -> None:
    body = b"# " + b"x" * (9 << 20) + b"\na 1\n"
    async with _scraper(*(App(http(body)) for _ in range(3))) as scraper:
        scrape = await _scrape(scraper)

    failed = [error for error in _errors(scrape) if error]
    assert failed == ["more than 24 MiB from all targets in one scrape"]


async def test_a_series_of_two_targets_fails_the_later_one() -> None:
    same = b"a 1\n"
    rule = {"action": "labeldrop", "regex": "container"}
    async with _scraper(App(http(same)), App(http(same)), App(http(b"b 1\n"))) as scraper:
        scraper.use(parse_pod_policy({"metricRelabelings": [rule]}).series)
        scrape = await _scrape(scraper)

    assert _errors(scrape) == ["", "a is also a series of another target", ""]
    assert scrape.body.count(b"a 1") == 1


async def test_no_target_may_speak_of_targets_in_the_proxys_name() -> None:
    forged = b'livery_target_up{container="t1"} 1\n'
    async with _scraper(App(http(forged)), App(http(b"b{\n"))) as scraper:
        scrape = await _scrape(scraper)

    assert scrape.status == 200
    assert scrape.body.count(b"livery_target_up{") == 2
    assert b'livery_target_up{container="t1"} 0' in scrape.body


async def test_a_target_that_comes_back_is_read_again() -> None:
    app = App(http(b"", status="500 Oh"))
    async with _scraper(app, App(http(b"b 1\n"))) as scraper:
        for answer, ups in ((http(b"", status="500 Oh"), 1), (http(b"a 1\n"), 2)) * 2:
            app.answer = answer
            scrape = await _scrape(scraper)
            assert [result.error is None for result in scrape.results].count(True) == ups


async def test_late_and_broken_targets_together_are_a_502() -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with _scraper(App(never), App(http(b"", status="500 Oh"))) as scraper:
        mixed = await scraper.scrape(ScrapeRequest(_WANTED), 1.0)
    async with _scraper(App(never), App(never)) as scraper:
        late = await scraper.scrape(ScrapeRequest(_WANTED), 0.1)

    assert (mixed.status, late.status) == (502, 504)


async def test_values_that_change_appear_and_series_that_vanish_do_not() -> None:
    app = App(b"")
    async with _scraper(app) as scraper:
        for body in (b"a 1\nb 2\n", b"a 3\nb 4\n", b"b 5\n", b"", b"b 6\na 7\n"):
            app.answer = http(body)
            assert (await _scrape(scraper)).body == body


async def test_rules_end_with_the_scrape_and_the_next_one_goes_on() -> None:
    rules = [{"sourceLabels": ["i"], "regex": f".*{n}.*", "action": "drop"} for n in range(300)]
    body = b"".join(b'a{i="%s"} 1\n' % _letters(number) for number in range(20_000))
    async with _scraper(App(http(body))) as scraper:
        scraper.use(parse_pod_policy({"metricRelabelings": rules}).series)

        first = await _scrape(scraper, timeout_seconds=1.0)
        remembered = scraper.cached_bytes

    assert first.status == 504
    assert b"the rules processed only " in first.body
    assert b" samples within the scrape timeout; " in first.body
    assert remembered > 0


async def test_an_abandoned_scrape_ends_its_thread_before_another_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside: list[int] = []
    most = 0
    read = view_module.ScrapeView.read

    def watched(self: view_module.ScrapeView, *given: Any) -> view_module.Outcome:
        nonlocal most
        inside.append(1)
        most = max(most, len(inside))
        try:
            return read(self, *given)
        finally:
            inside.pop()

    monkeypatch.setattr(view_module.ScrapeView, "read", watched)
    rules = [{"sourceLabels": ["i"], "regex": "(.+)", "targetLabel": f"l{n}"} for n in range(40)]
    async with _scraper(App(http(_series(40_000)))) as scraper:
        scraper.use(parse_pod_policy({"metricRelabelings": rules}).series)
        shares = ScrapeCoalescer(scraper)
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await shares.get(ScrapeRequest(_WANTED), 60)
        await until(lambda: not inside)

    assert most == 1


@pytest.mark.parametrize(("seconds", "is_taken"), [(0.1, False), (0.3, True)])
async def test_who_gave_a_target_little_time_does_not_say_that_it_is_down(
    seconds: float, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    monkeypatch.setattr(scraper_module, "HASTY_SECONDS", 0.2)
    taken: list[object] = []
    async with _scraper(App(hang)) as scraper:
        scraper.on_collected = lambda collected, wanted: taken.append(collected)
        await _scrape(scraper, timeout_seconds=seconds)

    assert bool(taken) is is_taken
