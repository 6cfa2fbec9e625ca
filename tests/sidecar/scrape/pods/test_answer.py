import gzip

import pytest

from sidecar.errors import UpstreamTimeoutError
from sidecar.http.messages import Response, gather
from sidecar.scrape.pods.answer import MAX_ERRORS, PodsAnswer
from tests.sidecar.apps import App, http
from tests.sidecar.scrape.pods.apps import pod_target, scrape, scraper_of

pytestmark = pytest.mark.anyio


async def _whole(response: Response) -> bytes:
    return response.body if response.parts is None else await gather(response.parts)


async def _large_answer(app: App) -> PodsAnswer:
    answer = await scrape(scraper_of([app] * 40))
    assert answer.samples == 40_000
    return answer


_LARGE = http(b"".join(b'a{path="/api/v1/%d"} 1\n' % row for row in range(1000)))


async def test_each_pod_has_its_health_duration_and_count() -> None:
    async with App(http(b"a 1\nb 2\n")) as app:
        scraper = scraper_of([app])
        scraper.set_targets([*scraper.targets, pod_target("gone", 1)])
        answer = await scrape(scraper)

    text = b"".join(answer.chunks()).decode()
    assert '# TYPE up gauge\nup{namespace="shop",pod="web-0"} 1\n' in text
    assert 'up{namespace="shop",pod="gone"} 0\n' in text
    assert 'livery_pod_samples{namespace="shop",pod="web-0"} 2\n' in text
    assert 'livery_pod_samples{namespace="shop",pod="gone"} 0\n' in text
    assert 'livery_pod_scrape_duration_seconds{namespace="shop",pod="gone"} 0.0' in text
    assert "# shop/gone http://127.0.0.1:1/metrics: connection refused on port 1" in text


async def test_where_no_pod_matches_the_families_are_there_without_samples() -> None:
    answer = await scrape(scraper_of([]))

    text = b"".join(answer.chunks()).decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "livery_pod_targets 0"
    ]
    assert "# TYPE up gauge" in text


async def test_a_small_answer_has_its_length() -> None:
    async with App(http(b"a 1\n")) as app:
        answer = await scrape(scraper_of([app]))

    response = answer.respond({})
    assert response.parts is None
    assert response.body == b"".join(answer.chunks())
    assert response.content_type.endswith("; escaping=allow-utf-8")


async def test_a_large_answer_is_written_in_parts_of_which_none_is_empty() -> None:
    async with App(_LARGE) as app:
        answer = await _large_answer(app)

    response = answer.respond({})
    assert response.parts is not None
    parts = [part async for part in response.parts]
    assert b"".join(parts) == b"".join(answer.chunks())
    assert len(parts) > 3
    assert all(parts)


@pytest.mark.parametrize("is_large", [False, True])
async def test_an_answer_is_compressed_for_whoever_takes_that(is_large: bool) -> None:
    body = _LARGE if is_large else http(b"a 1\n")
    async with App(body) as app:
        answer = await scrape(scraper_of([app] * (40 if is_large else 3)))

    response = answer.respond({"accept-encoding": "gzip"})
    assert ("Content-Encoding", "gzip") in response.headers
    assert gzip.decompress(await _whole(response)) == b"".join(answer.chunks())


async def test_two_clients_may_take_one_answer_at_their_own_pace() -> None:
    async with App(_LARGE) as app:
        answer = await _large_answer(app)

    one, two = answer.respond({}).parts, answer.respond({}).parts
    assert one is not None
    assert two is not None
    first = [await anext(one), await anext(two)]
    assert first[0] == first[1]
    assert await gather(one) == await gather(two)


async def test_an_answer_that_is_taken_back_is_cut_off_and_not_ended() -> None:
    async with App(_LARGE) as app:
        answer = await _large_answer(app)
    parts = answer.respond({}).parts
    assert parts is not None
    await anext(parts)

    answer.release()

    with pytest.raises(UpstreamTimeoutError, match="did not read the response"):
        await gather(parts)
    assert answer.held_bytes == 0


async def test_errors_are_shown_to_a_bound() -> None:
    scraper = scraper_of([])
    scraper.set_targets([pod_target(f"gone-{number}", 1) for number in range(MAX_ERRORS + 10)])
    answer = await scrape(scraper)

    text = b"".join(answer.chunks())
    assert text.count(b"connection refused") == MAX_ERRORS
    assert text.count(b"\nup{") == MAX_ERRORS + 10


async def test_what_an_answer_holds_grows_with_its_samples() -> None:
    async with App(_LARGE) as app:
        answer = await _large_answer(app)

    assert 40_000 * 57 < answer.held_bytes < 40_000 * 80
