"""Metadata (type, unit and help) of the metrics that a tenant may see.

Prometheus' `/api/v1/metadata` does not say which target a help text is from;
`/api/v1/targets/metadata` does. The gateway answers both endpoints from the latter.
"""

import asyncio
import time
from typing import NamedTuple

from sidecar.errors import QueryError
from sidecar.gateway.answers import read_data, read_whole
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.parameters import Parameters, write_parameters
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import Cause, Refusal, succeeded
from sidecar.gateway.target_items import Item, Kind, read_items
from sidecar.gateway.tenants import Sight, Tenants
from sidecar.http.messages import Response
from sidecar.model.promql.enforcement import everything
from sidecar.model.promql.matchers import Condition
from sidecar.model.promql.parser import parse_series_selector
from sidecar.model.promql.printer import print_conditions
from sidecar.model.promql.targets import target_conditions

MAX_ITEMS_BYTES = 8 << 20
"""Maximum size of a backend's metadata response; anything beyond is not shown."""
MAX_ITEMS = 20_000
MAX_NAMES_BYTES = 4 << 20
READ_AT_ONCE = 2
REMEMBERED_SECONDS = 30.0
MAX_REMEMBERED = 20


class VisibleMetadata:
    """Answers both endpoints; the metadata of all of a tenant's metrics is cached for a while."""

    def __init__(self, backends: BackendGroup) -> None:
        self._backends = backends
        self._seen: dict[Tenants, _Seen] = {}
        self._turns = asyncio.Semaphore(READ_AT_ONCE)

    async def of_metrics(self, parameters: Parameters, sight: Sight) -> Response:
        """Answer `/api/v1/metadata`.

        Raises:
            Refusal: a parameter is not a number, or no backend answers.
            QueryRefusedError: the query for the tenant's metric names needs too many selectors.
        """
        limit, of_each = _limit(parameters, "limit", 0), _limit(parameters, "limit_per_metric", 1)
        wanted = _first(parameters, "metric")
        items = await self._items(sight, metric=wanted) if wanted else await self._all(sight)
        shown: dict[str, dict[Kind, None]] = {}
        for item in items:
            shown.setdefault(item.metric, {})[item.kind] = None
        return succeeded(
            {
                name: [kind._asdict() for kind in list(kinds)[:of_each]]
                for name, kinds in list(shown.items())[:limit]
            }
        )

    async def of_targets(self, parameters: Parameters, sight: Sight) -> Response:
        """Answer `/api/v1/targets/metadata`.

        Raises:
            Refusal: a parameter cannot be parsed, or no backend answers.
            QueryRefusedError: the query for the tenant's metric names needs too many selectors.
        """
        limit, wanted = _limit(parameters, "limit", 0), _first(parameters, "metric")
        conditions = _read_match(_first(parameters, "match_target"))
        items = await self._items(sight, conditions, wanted)
        return succeeded(
            [
                {"target": item.target}
                | ({} if wanted else {"metric": item.metric})
                | item.kind._asdict()
                for item in items[:limit]
            ]
        )

    async def _all(self, sight: Sight) -> list[Item]:
        known = self._seen.get(sight.tenants)
        if known is not None and known.holds_for(sight):
            return known.items
        items = list({item[1:]: item for item in await self._items(sight)}.values())
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
        self._seen[sight.tenants] = _Seen(sight, time.monotonic(), items)
        return items

    async def _items(
        self, sight: Sight, conditions: tuple[Condition, ...] = (), metric: str = ""
    ) -> list[Item]:
        """Query the targets' metadata, and leave out metrics that the tenants may not see."""
        view = sight.view
        if not view.branches:
            return []
        async with self._turns:
            names = await self._names(sight)
            held = conditions + target_conditions(view)
            pairs = [("limit", str(MAX_ITEMS))]
            pairs += [("match_target", print_conditions(held))] if held else []
            pairs += [("metric", metric)] if metric else []
            body = await self._ask_targets(pairs)
            return await asyncio.to_thread(read_items, body, view, names, metric)

    async def _names(self, sight: Sight) -> frozenset[str]:
        """Return the metric names of the tenants' series."""
        matches = [("match[]", text) for text in everything(sight.view)]
        question = Question("GET", "/api/v1/label/__name__/values", write_parameters(matches))
        asked = await self._backends.ask(question, takes_gzip=False)
        found = read_data(await read_whole(asked, MAX_NAMES_BYTES))["data"]
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    async def _ask_targets(self, pairs: list[tuple[str, str]]) -> bytes:
        question = Question("GET", "/api/v1/targets/metadata", write_parameters(pairs))
        asked = await self._backends.ask(question, takes_gzip=False)
        if asked.connection.status == 404:  # a backend that does not scrape has no targets
            asked.backend.release(asked.connection)
            return b""
        return await read_whole(asked, MAX_ITEMS_BYTES, is_cut=True)


class _Seen(NamedTuple):
    """Cached metadata of a combination of tenants."""

    sight: Sight
    at: float
    items: list[Item]

    def holds_for(self, sight: Sight) -> bool:
        """Return whether the entry is recent and was made under the same access rules."""
        is_recent = time.monotonic() - self.at < REMEMBERED_SECONDS
        return is_recent and sight.views.same(self.sight.views, sight.tenants)


def _read_match(text: str) -> tuple[Condition, ...]:
    try:
        return parse_series_selector(text).conditions if text else ()
    except QueryError as error:
        raise Refusal(Cause.QUERY, 400, f'invalid parameter "match_target": {error}') from error


def _first(parameters: Parameters, name: str) -> str:
    return (parameters.get(name) or [""])[0]


def _limit(parameters: Parameters, name: str, least: int) -> int | None:
    """Return a limit; None, for no limit, if the number is too small, as in Prometheus."""
    text = _first(parameters, name) or "-1"
    try:
        return int(text) if int(text) >= least else None
    except ValueError:
        raise Refusal(Cause.PARAMETERS, 400, f"{name}={text[:40]!r} is not a number") from None
