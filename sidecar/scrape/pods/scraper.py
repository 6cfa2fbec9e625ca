"""Many pods' metrics as one exposition: fetched on demand; only series lines are cached."""

import time
from collections.abc import Collection, Sequence
from weakref import WeakKeyDictionary

from sidecar.errors import LimitError, UpstreamTimeoutError
from sidecar.model.exposition.families import Row
from sidecar.model.exposition.formats import Format, Negotiated, target_accept
from sidecar.model.exposition.lines import CacheRoom
from sidecar.model.exposition.merge import MergeError
from sidecar.model.policy.series import SeriesPolicy
from sidecar.scrape.deadline import in_thread
from sidecar.scrape.fetch import Question, TargetClient
from sidecar.scrape.pods.answer import PodsAnswer
from sidecar.scrape.pods.body_room import BodyRoom
from sidecar.scrape.pods.fan_out import FanOut, NotAskedError, Outcome
from sidecar.scrape.pods.settings import PodsLimits, PodsSettings
from sidecar.scrape.pods.targets import PodTarget
from sidecar.scrape.pods.view import PodsView
from sidecar.scrape.request import ScrapeRequest

MAX_VARIANTS = 2
"""Client variants (format and escaping) with a cache: an old and a new Prometheus."""
GRACE_SECONDS = 2.0
"""Time beyond its own timeout that a client has to read a response when memory is short."""
INLINE_ENTRIES = 20_000
"""A plan of more series is made in a thread, so that the event loop is not blocked."""
_CREDENTIALS_HINT = (
    "the aggregate does not pass credentials on; a Livery proxy beside the workload can"
)
_DEFAULT_LIMITS = PodsLimits()


class PodsScraper:
    """Scrapes the current pods under the current policy.

    Args:
        settings: label and metric names.
        limits: limits of each scrape.
    """

    def __init__(self, settings: PodsSettings, limits: PodsLimits = _DEFAULT_LIMITS) -> None:
        self._settings = settings
        self._limits = limits
        self._room = CacheRoom(limits.cache_bytes)
        self._bodies = BodyRoom(
            limits.small_bytes, limits.waiting_bytes // max(1, limits.target_bytes)
        )
        self._hung: frozenset[object] = frozenset()
        """Keys of targets that timed out or exceeded a limit in the last scrape."""
        self._views: dict[Negotiated, PodsView] = {}
        self._clients: dict[object, tuple[PodTarget, TargetClient]] = {}
        self._answers: WeakKeyDictionary[PodsAnswer, float] = WeakKeyDictionary()
        """Monotonic time at which the clients of each response will have given up."""
        self.policy = SeriesPolicy(namespaces={})

    @property
    def targets(self) -> list[PodTarget]:
        """The current targets."""
        return [target for target, _ in self._clients.values()]

    @property
    def size_bytes(self) -> int:
        """Size of the caches."""
        return sum(view.size_bytes for view in self._views.values())

    @property
    def is_full(self) -> bool:
        """Whether unread responses use too much memory, even after expired ones are freed."""
        if self._held_bytes() > self._limits.held_bytes:
            now = time.monotonic()
            for answer, until in list(self._answers.items()):
                if until < now:
                    answer.release()
        return self._held_bytes() > self._limits.held_bytes

    def _held_bytes(self) -> int:
        return sum(answer.held_bytes for answer in self._answers)

    def use(self, policy: SeriesPolicy, namespaces: Collection[str] | None = None) -> None:
        """Rewrite series under a new policy from the next scrape on.

        Args:
            policy: the policy.
            namespaces: namespaces with changed labels; None if rules changed.
        """
        self.policy = policy
        for view in self._views.values():
            view.use(policy, namespaces)

    def set_targets(self, targets: Sequence[PodTarget]) -> None:
        """Replace the targets; connections to unchanged targets are kept."""
        clients: dict[object, tuple[PodTarget, TargetClient]] = {}
        for target in targets:
            known = self._clients.pop(target.key, None)
            is_same = known is not None and known[0] == target
            if known is not None and not is_same:
                known[1].close()
            clients[target.key] = known if known and is_same else (target, self._client(target))
        for _, client in self._clients.values():
            client.close()
        self._clients = clients
        for view in self._views.values():
            view.keep_only(clients)

    def close(self) -> None:
        """Drop the connections."""
        for _, client in self._clients.values():
            client.close()

    async def scrape(self, request: ScrapeRequest, timeout_seconds: float) -> PodsAnswer:
        """Scrape all targets and merge their series.

        Args:
            request: what the client asks for; its query and headers are not passed on.
            timeout_seconds: for fetching all targets, and for parsing the responses.
        """
        given_up_at = time.monotonic() + timeout_seconds + GRACE_SECONDS
        view = self._view(request.wanted._replace(fmt=Format.TEXT))
        fan_out = FanOut(view, self._limits, self._bodies, timeout_seconds)
        clients = list(self._clients.values())
        question = Question(target_accept(view.wanted))
        outcomes = await fan_out.run(clients, question, self._hung)
        self._hung = frozenset(
            outcome.target.key
            for outcome in outcomes
            if isinstance(outcome.error, UpstreamTimeoutError | LimitError)
            and not isinstance(outcome.error, NotAskedError)
        )
        shapes = dict.fromkeys(row.reading.shape for row in _rows(outcomes))
        if view.has_plan(shapes) or sum(len(one.entries) for one in shapes) <= INLINE_ENTRIES:
            answer = self._merge(view, outcomes)
        else:
            answer = await in_thread(fan_out.deadline, lambda: self._merge(view, outcomes))
        self._answers[answer] = given_up_at
        return answer

    def _merge(self, view: PodsView, outcomes: list[Outcome]) -> PodsAnswer:
        while True:
            rows = _rows(outcomes)
            try:
                plan = view.plan(rows)
            except MergeError as error:
                outcomes = _leave_out(outcomes, rows, error)
                continue
            return PodsAnswer(view, self._settings, plan, rows, outcomes=outcomes)

    def _client(self, target: PodTarget) -> TargetClient:
        return TargetClient(
            target.target,
            "",
            self._limits.target_bytes,
            addresses=target.addresses,
            credentials_hint=_CREDENTIALS_HINT,
        )

    def _view(self, wanted: Negotiated) -> PodsView:
        view = self._views.get(wanted)
        if view is None:
            if len(self._views) >= MAX_VARIANTS:
                self._views.pop(next(iter(self._views))).close()
            view = self._views[wanted] = PodsView(
                self.policy,
                self._settings,
                wanted,
                limits=self._limits.target,
                room=self._room,
            )
        return view


def _rows(outcomes: Sequence[Outcome]) -> list[Row]:
    return [outcome.result for outcome in outcomes if isinstance(outcome.result, Row)]


def _leave_out(
    outcomes: Sequence[Outcome], rows: Sequence[Row], error: MergeError
) -> list[Outcome]:
    """Mark the targets whose shape caused the error as failed."""
    shape = list(dict.fromkeys(row.reading.shape for row in rows))[error.index]
    return [
        outcome._replace(result=error)
        if isinstance(outcome.result, Row) and outcome.result.reading.shape is shape
        else outcome
        for outcome in outcomes
    ]
