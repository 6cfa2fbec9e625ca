"""Whose a third party's token is: asked of the control service, and remembered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from sidecar.auth.decisions import Decided, DecisionCache, Lane, token_key
from sidecar.errors import LiveryError

MAX_TOKEN_CHARACTERS = 16 << 10
MAX_REMEMBERED = 256
REFUSED_SECONDS = 5.0
MAX_VALID_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
_ACCOUNT = "system:serviceaccount:"

Ask = Callable[[dict[str, object]], Awaitable[dict[str, object]]]
"""Puts a question to the control service; returns its answer."""
Access = Mapping[str, str]
"""What somebody wants to do, in the words of a SubjectAccessReview."""


class Review(NamedTuple):
    """What is known of a token."""

    username: str
    """Whose it is; empty where it is nobody's, or cannot be judged now."""
    is_allowed: bool
    """Whether that user may do what was asked about."""
    trouble: str = ""
    """Why it cannot be judged now; empty where it was judged."""
    valid_seconds: float = 0.0

    @property
    def account(self) -> tuple[str, str] | None:
        """The namespace and name of a service account; None for any other user."""
        namespace, _, name = self.username.removeprefix(_ACCOUNT).partition(":")
        is_account = self.username.startswith(_ACCOUNT) and namespace and name
        return (namespace, name) if is_account else None


Accepts = Callable[[Review], bool]
_Key = tuple[bytes, tuple[tuple[str, str], ...]]


def _allowed(review: Review) -> bool:
    return review.is_allowed


class TokenReviews:
    """Judges tokens; what was judged is kept for a minute at most.

    Args:
        ask: asks the control service.
        audiences: of which a token must be for one; without any it must be for the API server.
        accepts: tells which reviews let their user in: those are kept longer than the others.
        remembered: how many of either kind are kept.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        audiences: tuple[str, ...] = (),
        accepts: Accepts = _allowed,
        remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._ask = ask
        self._audiences = audiences
        self._accepts = accepts
        self._cache: DecisionCache[_Key, Review] = DecisionCache(
            self._lane, good_limit=remembered, other_limit=remembered
        )

    def knows(self, token: str, access: Access | None = None) -> bool:
        """Tell whether a token was accepted before, however long ago, or refused just now."""
        key = _key(token, access)
        refused = self._cache.other(key)
        was_refused = refused is not None and _is_valid(refused)
        return was_refused or self._cache.good(key) is not None

    async def review(self, token: str, access: Access | None = None) -> Review:
        """Return whose a token is, and whether that user may do something."""
        key = _key(token, access)
        for kept in (self._cache.good(key), self._cache.other(key)):
            if kept is not None and _is_valid(kept):
                return kept.decision
        asking = self._cache.ask(key, lambda: self._judge(token, access))
        # Shielded: a caller that goes away does not take the answer from the others.
        return (await asyncio.shield(asking)).decision

    async def _judge(self, token: str, access: Access | None) -> Review:
        question: dict[str, object] = {"token": token}
        if self._audiences:
            question["audiences"] = list(self._audiences)
        if access is not None:
            question["access"] = dict(access)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._ask(question)
        except (LiveryError, TimeoutError, OSError) as error:
            # Nobody is let in on a guess, nor kept out for long.
            reason = str(error) or "no answer in time"
            return Review("", is_allowed=False, trouble=f"the token cannot be judged now: {reason}")
        review = _read(answer)
        # The control service remembers, too: together not longer than it says.
        most = MAX_VALID_SECONDS if self._accepts(review) else REFUSED_SECONDS
        return review._replace(valid_seconds=min(review.valid_seconds, most))

    def _lane(self, review: Review) -> Lane:
        if review.trouble:
            return Lane.UNDECIDED
        return Lane.GOOD if self._accepts(review) else Lane.REFUSED


def read_bearer(header: str) -> str:
    """Return the token of an Authorization header; empty where there is none that may be one."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    is_token = scheme.lower() == "bearer" and len(token) <= MAX_TOKEN_CHARACTERS
    return token if is_token else ""


def _read(answer: Mapping[str, object]) -> Review:
    user = answer.get("user")
    name = user.get("username") if isinstance(user, dict) else None
    if answer.get("authenticated") is not True or not isinstance(name, str) or not name:
        return Review("", is_allowed=False, valid_seconds=REFUSED_SECONDS)
    is_allowed = answer.get("allowed") is True
    valid = answer.get("validSeconds")
    seconds = float(min(valid, MAX_VALID_SECONDS)) if isinstance(valid, int | float) else 0.0
    return Review(name, is_allowed=is_allowed, valid_seconds=seconds)


def _is_valid(kept: Decided[Review]) -> bool:
    return kept.age_seconds < kept.decision.valid_seconds


def _key(token: str, access: Access | None) -> _Key:
    return token_key(token), tuple(sorted((access or {}).items()))
