"""Reviews clients' tokens through the control service, and caches the results."""

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
"""Sends a request for a review to the control service; returns its response."""
Access = Mapping[str, str]
"""The access to check, with the attributes of a SubjectAccessReview."""


class Review(NamedTuple):
    """The result of a token review."""

    username: str
    """The token's user; empty if the token is invalid, or cannot be reviewed now."""
    is_allowed: bool
    """Whether that user has the checked access."""
    trouble: str = ""
    """Why the token cannot be reviewed now; empty if it was reviewed."""
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
    """Reviews tokens; a result stays valid for at most a minute.

    Args:
        ask: sends a request for a review to the control service.
        audiences: audiences of which a token needs one; without any, that of the API server.
        accepts: returns whether a review admits its user: such results stay valid longer.
        remembered: maximum number of cached results, for accepted and other ones each.
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
        """Return whether a token was accepted before, however long ago, or refused just now."""
        key = _key(token, access)
        refused = self._cache.other(key)
        was_refused = refused is not None and _is_valid(refused)
        return was_refused or self._cache.good(key) is not None

    async def review(self, token: str, access: Access | None = None) -> Review:
        """Return the user of a token, and whether that user has the given access."""
        key = _key(token, access)
        for kept in (self._cache.good(key), self._cache.other(key)):
            if kept is not None and _is_valid(kept):
                return kept.decision
        asking = self._cache.ask(key, lambda: self._judge(token, access))
        # Shielded: a caller that goes away does not cancel the review for the others.
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
            # Without a review nobody is admitted; the result is not reused, so a retry may succeed.
            reason = str(error) or "no response in time"
            return Review("", is_allowed=False, trouble=f"the token review failed: {reason}")
        review = _read(answer)
        # The control service caches, too: the result must not outlive what it reports.
        most = MAX_VALID_SECONDS if self._accepts(review) else REFUSED_SECONDS
        return review._replace(valid_seconds=min(review.valid_seconds, most))

    def _lane(self, review: Review) -> Lane:
        if review.trouble:
            return Lane.UNDECIDED
        return Lane.GOOD if self._accepts(review) else Lane.REFUSED


def read_bearer(header: str) -> str:
    """Return the bearer token of an Authorization header; empty if there is none, or too long."""
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
