"""Authenticates a request by whichever credentials it has."""

from collections.abc import Mapping, Sequence

from sidecar.auth.rates import TokenBuckets
from sidecar.gateway.callers.caller import Caller, Credentials, Provider
from sidecar.gateway.callers.networks import network_of
from sidecar.gateway.refusals import Cause, Refusal

ATTEMPT_BURST, ATTEMPTS_PER_SECOND = 50, 5
"""Rate limit of unknown credentials, by address and user name: each costs a hash or a review."""


class Callers:
    """Authenticates callers by several kinds of credentials; the first kind that fits decides."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)
        self._attempts: TokenBuckets[str] = TokenBuckets(ATTEMPT_BURST, ATTEMPTS_PER_SECOND)

    async def authenticate(self, headers: Mapping[str, str], peer: str) -> Caller:
        """Return the caller.

        Raises:
            Refusal: the credentials are missing or invalid, cannot be checked now, or too many
                unknown ones were tried.
        """
        credentials = Credentials(headers, peer)
        for provider in self._providers:
            if provider.takes(credentials):
                return await self._identify(provider, credentials)
        raise self._unknown("the request has no accepted credentials")

    async def _identify(self, provider: Provider, credentials: Credentials) -> Caller:
        if not provider.knows(credentials):
            key = f"{network_of(credentials.peer)} {provider.name_of(credentials)}"
            if not self._attempts.take(key):
                sentence = "too many attempts with unknown credentials; retry later"
                raise Refusal(Cause.RATE, 429, sentence, retry_seconds=10)
        caller = await provider.identify(credentials)
        if caller is None:
            raise self._unknown("the credentials are invalid")
        return caller

    def _unknown(self, sentence: str) -> Refusal:
        wants = ", or ".join(provider.wants for provider in self._providers)
        challenges = (provider.challenge for provider in self._providers)
        return Refusal(
            Cause.CREDENTIALS, 401, f"{sentence}: {wants} is needed",
            challenges=tuple(filter(None, challenges)),
        )  # fmt: skip
