"""The gateway in front of a real Prometheus, with requests of Grafana and of an attacker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from sidecar.gateway.app import Gateway
from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.callers.caller import Caller, KnownCaller
from sidecar.gateway.limits import Limiter, TenantLimits
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.gateway.tenants import Views
from sidecar.http.messages import Request, Response, gather
from sidecar.model.access.rules import parse_access_rules
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program
from tests.sidecar.apps import App
from tests.sidecar.model.promql.worlds import RULES, World, ask, in_order, running_world

pytestmark = pytest.mark.anyio
_FORM = {"content-type": "application/x-www-form-urlencoded"}


class _Known:
    """Accepts every caller; the header names the caller's tenants."""

    async def authenticate(self, headers: Mapping[str, str], peer: str) -> Caller:
        said = headers.get("authorization", "")
        if not said:
            raise Refusal(Cause.CREDENTIALS, 401, "who are you?")
        return KnownCaller("tester", frozenset(said.split(",")))


class _Counts:
    def __init__(self) -> None:
        self.answers: list[tuple[str, int, Cause | None]] = []
        self.questions = 0

    def answered(self, path: str, status: int, seconds: float, refusal: Refusal | None) -> None:
        self.answers.append((path, status, None if refusal is None else refusal.cause))

    def asked(self, url: str, status: int) -> None:
        self.questions += 1


class Site:
    """A gateway, and requests to it."""

    def __init__(self, *urls: str, fills_gaps: bool = False) -> None:
        self.counts = _Counts()
        self.group = BackendGroup(BackendSettings(), 10, on_answer=self.counts.asked)
        self.group.use(urls)
        self.staleness = ""
        self.gateway = Gateway(
            _Known(),
            self.group,
            Limiter(),
            self.counts,
            staleness=lambda: self.staleness,
            fills_gaps=fills_gaps,
        )
        rules = {name: parse_access_rules(list(found), name) for name, found in RULES.items()}
        self.gateway.use(Views(rules))

    async def ask(
        self,
        path: str,
        *pairs: tuple[str, str],
        tenant: str = "names",
        post: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        form = urlencode(pairs)
        given = {"authorization": tenant, **(_FORM if post else {}), **(headers or {})}
        method, query, body = ("POST", "", form.encode()) if post else ("GET", form, b"")
        request = Request(method, path, query, given, "", body)
        return await _read(await self.gateway.handle(request))


async def _read(response: Response) -> tuple[int, Any]:
    body = response.body if response.parts is None else await gather(response.parts)
    is_json = response.content_type.startswith("application/json")
    return response.status, json.loads(body) if is_json else body.decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    have(prometheus_program)
    with running_world(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
async def site(world: World) -> AsyncIterator[Site]:
    made = Site(world.whole.url)
    yield made
    made.group.close()


async def test_grafana_finds_a_data_source_that_works(site: Site) -> None:
    status, answer = await site.ask("/api/v1/query", ("query", "1+1"), ("time", "4"), post=True)
    assert (status, answer["data"]) == (200, {"resultType": "scalar", "result": [4, "2"]})
    status, answer = await site.ask("/api/v1/status/buildinfo")
    assert (status, answer["data"]["version"][0]) == (200, "3")


@pytest.mark.parametrize("post", [True, False])
async def test_grafana_fills_panels_variables_and_completions(
    site: Site, world: World, post: bool
) -> None:
    span = (("start", str(world.now - 600)), ("end", str(world.now)))
    rate = ("query", "sum by (job) (rate(up[5m]))")
    asked: list[tuple[str, list[tuple[str, str]]]] = [
        ("query_range", [rate, *span, ("step", "15")]),
        ("series", [("match[]", "up"), *span]),
        ("labels", [*span, ("limit", "40000")]),
        ("labels", [("match[]", '{__name__="up"}'), *span]),
        ("query_exemplars", [("query", "up"), *span]),
    ]
    for name, pairs in asked:
        path = f"/api/v1/{name}"
        status, answer = await site.ask(path, *pairs, post=post)
        assert (status, answer["status"]) == (200, "success"), path
    status, answer = await site.ask("/api/v1/label/namespace/values", *span)
    assert answer["data"] == ["shop"]
    for path in ("/api/v1/metadata", "/api/v1/rules", "/api/v1/alerts"):
        assert (await site.ask(path))[0] == 200


async def test_each_tenant_gets_its_own_answer_to_the_same_query(site: Site, world: World) -> None:
    moment = ("time", str(world.now))
    for tenant in world.tenants:
        status, answer = await site.ask(
            "/api/v1/query", ("query", "count(up)"), moment, tenant=tenant.name
        )
        assert status == 200
        alone = tenant.alone.get(f"/api/v1/query?{urlencode([('query', 'count(up)'), moment])}")
        assert answer["data"] == json.loads(alone)["data"], tenant.name


async def test_federation_shows_a_tenant_s_series(site: Site, world: World) -> None:
    status, text = await site.ask("/federate", tenant="everything")

    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert status == 200
    assert lines
    assert all('namespace="bank"' in line for line in lines)


_SECRET = ("query", "secret")


@pytest.mark.parametrize(
    ("path", "pairs", "headers", "post", "status"),
    [
        ("/api/v1/query", [_SECRET, ("query", "up")], {}, False, 400),
        ("/api/v1/query", [("query", "up"), ("extra_filters", "{}")], {}, False, 400),
        ("/api/v1/query", [("query", "up"), ("extra_label", "a=b")], {}, True, 400),
        ("/api/v1/query", [("query", "up"), ("namespace", "bank")], {}, False, 403),
        ("/api/v1/query", [("query", "up")], {"x-tenant-namespace": "granted"}, False, 403),
        ("/api/v1/query", [("query", "info(up)")], {}, False, 422),
        ("/api/v1/query", [("query", 'up{a="1" or b="2"}')], {}, False, 400),
        ("/api/v1/query", [("query", "(" * 10_000)], {}, True, 400),
        ("/api/v1/query", [("query", "(" * 9_000 + "up" + ")" * 9_000)], {}, True, 422),
        ("/api/v1/query", [("query", "x" * 60_000)], {}, True, 422),
        ("/api/v1/labels", [], {}, False, 200),
        ("/api/v1/query", [], {}, False, 400),
        ("/api/v1/status/tsdb", [], {}, False, 404),
        ("/api/v1/targets", [], {}, False, 404),
        ("/api/v1/admin/tsdb/snapshot", [], {}, True, 404),
        ("/api/v1/write", [], {}, True, 404),
        ("/api/v1//query", [_SECRET], {}, False, 404),
        ("/api/v1/query/", [_SECRET], {}, False, 404),
        ("/api/v1/label/..%2f..%2fquery/values", [], {}, False, 404),
    ],
)  # fmt: skip
async def test_an_attack_is_refused_and_shows_nothing(
    site: Site,
    path: str,
    pairs: list[tuple[str, str]],
    headers: dict[str, str],
    post: bool,
    status: int,
) -> None:
    found, answer = await site.ask(path, *pairs, headers=headers, post=post)

    assert found == status
    assert '"secret"' not in json.dumps(answer)


@pytest.mark.parametrize(
    "query",
    [
        "secret", '{__name__="secret"}', '{__name__=~"sec.*"}', '{job="db",__name__!="up"}',
        'label_replace(secret, "__name__", "up", "", "")', "topk(scalar(count(secret)), up)",
        "quantile(scalar(secret), up)", "vector(1) and on () secret", "up unless on () secret",
        'count_values("v", secret)', 'up{namespace!="shop"}', 'up{namespace=""}',
        'up{namespace="bank"}',
        'up{namespace=~".*",namespace!="shop"}', "secret offset 1m", "secret @ end()",
        "max_over_time(secret[5m:1m])", "absent(secret) == 0", "scalar(secret) > bool 0",
        'up{a="\\"} or secret{b=\\""}', 'group by (namespace) ({__name__=~".+",namespace!="shop"})',
    ],
)  # fmt: skip
async def test_no_query_tells_that_another_s_series_exist(
    site: Site, world: World, query: str
) -> None:
    (tenant,) = (item for item in world.tenants if item.name == "names")
    moment = ("time", str(world.now))
    status, answer = await site.ask("/api/v1/query", ("query", query), moment)
    alone_status, alone = ask(tenant.alone, "query", [("query", query), moment])
    assert (status, _seen(answer)) == (alone_status, alone)


def _seen(answer: Any) -> Any:
    """Return an answer as `ask` does: its data, or its error."""
    return in_order(answer["data"]) if answer["status"] == "success" else answer["error"]


async def test_nobody_is_answered_without_credentials_or_rules(site: Site) -> None:
    request = Request("GET", "/api/v1/query", "query=up", {})
    assert (await site.gateway.handle(request)).status == 401
    assert (await site.gateway.handle(Request("GET", "/health", "", {}))).status == 200
    site.staleness = "the access rules are too old"

    assert (await site.ask("/api/v1/query", ("query", "up")))[0] == 503
    assert (await site.gateway.handle(Request("GET", "/health", "", {}))).status == 503


async def test_a_rule_that_goes_takes_its_series_along(site: Site, world: World) -> None:
    query = (("query", "up"), ("time", str(world.now)))
    assert (await site.ask("/api/v1/query", *query))[1]["data"]["result"]

    site.gateway.use(Views({}))

    assert not (await site.ask("/api/v1/query", *query))[1]["data"]["result"]


async def test_a_question_under_rules_that_are_gone_is_not_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = site.group.ask

    async def ask_while_rules_change(*given: Any, **named: Any) -> Any:
        asked = await ask(*given, **named)
        site.gateway.use(Views({}))
        return asked

    monkeypatch.setattr(site.group, "ask", ask_while_rules_change)
    for path in ("/api/v1/query?query=up", "/api/v1/metadata"):
        name, _, form = path.partition("?")
        status, answer = await site.ask(name, *([("query", "up")] if form else []))
        assert status == 503
        assert "rules changed" in answer["error"]
        rules = {name: parse_access_rules(list(found), name) for name, found in RULES.items()}
        site.gateway.use(Views(rules))


async def test_identical_requests_at_the_same_time_are_one_question(site: Site) -> None:
    query = (("query", "count(up)"), ("time", "0"))
    tenants = ["names", "names", "names", "everything"]
    answers = await asyncio.gather(
        *(site.ask("/api/v1/query", *query, tenant=name) for name in tenants)
    )

    assert [status for status, _ in answers] == [200] * 4
    assert site.counts.questions == 2
    await site.ask("/api/v1/query", *query)
    assert site.counts.questions == 3


async def test_gaps_are_filled_where_that_is_asked_for(world: World) -> None:
    whole = world.whole.url
    site = Site(whole, whole.replace("127.0.0.1", "localhost"), fills_gaps=True)
    query = (("query", "up"), ("time", str(world.now)))
    status, answer = await site.ask("/api/v1/query", *query)
    (tenant,) = (item for item in world.tenants if item.name == "names")
    alone = json.loads(tenant.alone.get(f"/api/v1/query?{urlencode(query)}"))
    assert status == 200
    assert in_order(answer["data"]) == in_order(alone["data"])
    assert site.counts.questions == 2
    await site.ask("/api/v1/labels")
    assert site.counts.questions == 3
    site.group.close()


async def test_requests_are_counted_by_what_became_of_them(site: Site) -> None:
    await site.ask("/api/v1/query", ("query", "up"))
    await site.ask("/api/v1/query", ("query", "up("))
    await site.ask("/api/v1/label/job/values")
    await site.ask("/random")

    assert site.counts.answers == [
        ("/api/v1/query", 200, None),
        ("/api/v1/query", 400, Cause.QUERY),
        ("/api/v1/label/NAME/values", 200, None),
        ("other", 404, Cause.ENDPOINT),
    ]


async def test_a_client_that_goes_away_ends_the_question() -> None:
    came, went = asyncio.Event(), asyncio.Event()

    async def answer_never(writer: asyncio.StreamWriter) -> None:
        came.set()
        with contextlib.suppress(OSError):
            await app.readers[writer].read()
        went.set()

    async with App(answer_never) as app:
        site = Site(f"http://127.0.0.1:{app.port}")
        for _ in range(TenantLimits().concurrency + 1):
            came.clear()
            went.clear()
            asking = asyncio.create_task(site.ask("/api/v1/query", ("query", "up")))
            await came.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            async with asyncio.timeout(5):
                await went.wait()
        site.group.close()


async def test_rules_that_need_too_many_selectors_are_no_fault_of_a_backend(site: Site) -> None:
    rules = [
        {"name": str(at), "patterns": ["up"], "labelSelectors": {f"l{at}": "x"},
         "namespaces": ["shop"]}
        for at in range(900)
    ]  # fmt: skip
    site.gateway.use(Views({"names": parse_access_rules(rules, "rules")}))
    for path in ("/api/v1/metadata", "/api/v1/labels"):
        status, answer = await site.ask(path)
        assert (status, answer["errorType"]) == (422, "execution")
    assert [cause for _, _, cause in site.counts.answers] == [Cause.ACCESS, Cause.ACCESS]


async def test_the_log_says_who_was_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sidecar.gateway.app")
    await site.ask("/api/v1/query", ("query", "info(up)"))

    (line,) = [record for record in caplog.records if record.message == "refused"]
    assert (line.tenant_id, line.status) == ("names", 422)  # type: ignore[attr-defined]
    assert line.user  # type: ignore[attr-defined]


async def test_an_answer_that_breaks_off_is_a_refusal_that_is_counted() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"

    async def break_off(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        writer.close()

    async with App(break_off) as app:
        site = Site(f"http://127.0.0.1:{app.port}")
        for path in ("/api/v1/metadata", "/api/v1/labels"):
            status, answer = await site.ask(path)
            assert (status, answer["status"]) == (502, "error")
        site.group.close()
