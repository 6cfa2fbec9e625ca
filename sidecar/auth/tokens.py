"""Who may scrape a node: whoever may read its kubelet's metrics, or is named.

The kubelet asks for a token; a proxy before it that asks nobody would open what it keeps.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from sidecar.auth.decisions import DecisionCache, Lane, token_key
from sidecar.errors import LiveryError

MAX_TOKEN_CHARACTERS = 16 << 10
MAX_REMEMBERED = 256
REFUSED_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
_ACCOUNT = "system:serviceaccount:"

Ask = Callable[[dict[str, object]], Awaitable[dict[str, object]]]
"""Puts a question to the control service; returns its answer."""


class Refusal(NamedTuple):
    """Why somebody may not scrape, as an HTTP status and a sentence."""

    status: int
    sentence: str


class _Decision(NamedTuple):
    refusal: Refusal | None
    valid_seconds: float


def _lane(decision: _Decision) -> Lane:
    if decision.refusal is None:
        return Lane.GOOD
    return Lane.UNDECIDED if decision.refusal.status == 503 else Lane.REFUSED


class TokenAuthorizer:
    """Lets requests in by their bearer token.

    Args:
        ask: asks the control service whose a token is.
        accounts: service accounts (`namespace/name`) that may scrape whatever their rights.
        subresource: of nodes, what one must be allowed to get, as at the kubelet itself.
    """

    def __init__(self, ask: Ask, accounts: frozenset[str], subresource: str = "metrics") -> None:
        self._ask = ask
        self._accounts = accounts
        self._subresource = subresource
        self._access = {"verb": "get", "resource": "nodes", "subresource": subresource}
        self._cache: DecisionCache[bytes, _Decision] = DecisionCache(
            _lane, good_limit=MAX_REMEMBERED, other_limit=MAX_REMEMBERED
        )

    async def authorize(self, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is not let in; None where it is."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
            return Refusal(401, "a bearer token is needed")
        key = token_key(token)
        for kept in (self._cache.good(key), self._cache.other(key)):
            if kept is not None and kept.age_seconds < kept.decision.valid_seconds:
                return kept.decision.refusal
        asking = self._cache.ask(key, lambda: self._decide(token))
        # Shielded: a caller that goes away does not take the answer from the others.
        return (await asyncio.shield(asking)).decision.refusal

    async def _decide(self, token: str) -> "_Decision":
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._ask({"token": token, "access": self._access})
        except (LiveryError, TimeoutError, OSError) as error:
            # Nobody is let in on a guess, nor kept out for long.
            reason = str(error) or "no answer in time"
            return _Decision(Refusal(503, f"the token cannot be judged now: {reason}"), 0.0)
        return self._judge(answer)

    def _judge(self, answer: Mapping[str, object]) -> "_Decision":
        user = answer.get("user")
        if answer.get("authenticated") is not True or not isinstance(user, dict):
            return _Decision(Refusal(401, "the token is not known"), REFUSED_SECONDS)
        name = str(user.get("username", ""))
        account = name.removeprefix(_ACCOUNT).replace(":", "/")
        is_named = name.startswith(_ACCOUNT) and account in self._accounts
        if not is_named and answer.get("allowed") is not True:
            refusal = Refusal(403, f"{name} may not get nodes/{self._subresource}")
            return _Decision(refusal, REFUSED_SECONDS)
        valid = answer.get("validSeconds")
        # The control service remembers, too: together not longer than it says.
        return _Decision(None, float(min(valid, 60)) if isinstance(valid, int | float) else 0.0)
