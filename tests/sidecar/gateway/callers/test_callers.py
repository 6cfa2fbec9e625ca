import pytest

from sidecar.gateway.callers.caller import Credentials, KnownCaller
from sidecar.gateway.callers.callers import ATTEMPT_BURST, Callers
from sidecar.gateway.refusals import Cause, Refusal

pytestmark = pytest.mark.anyio


class _Words:
    """An authenticator for one scheme; credentials that end in `right` are valid."""

    def __init__(self, kind: str, challenge: str = "") -> None:
        self.kind = kind
        self.wants = f"a {kind} word"
        self.challenge = challenge
        self.known: set[str] = set()
        self.asked = 0

    def takes(self, credentials: Credentials) -> bool:
        return credentials.authorization.startswith(self.kind)

    def knows(self, credentials: Credentials) -> bool:
        return credentials.authorization in self.known

    def name_of(self, credentials: Credentials) -> str:
        return "hannah" if "hannah" in credentials.authorization else ""

    async def identify(self, credentials: Credentials) -> KnownCaller | None:
        self.asked += 1
        if not credentials.authorization.endswith("right"):
            return None
        self.known.add(credentials.authorization)
        return KnownCaller(self.kind, frozenset())


def _headers(text: str) -> dict[str, str]:
    return {"authorization": text}


async def test_the_kind_of_credentials_says_who_is_asked() -> None:
    callers = Callers([_Words("red"), _Words("blue")])

    assert (await callers.authenticate(_headers("blue right"), "")).name == "blue"
    assert (await callers.authenticate(_headers("red right"), "")).name == "red"


@pytest.mark.parametrize("text", ["green right", "red wrong", ""])
async def test_who_is_not_known_is_told_what_is_wanted(text: str) -> None:
    callers = Callers([_Words("red", 'Red realm="x"'), _Words("blue"), _Words("brown", "Brown")])

    with pytest.raises(Refusal, match="a red word, or a blue word, or a brown word") as caught:
        await callers.authenticate(_headers(text), "10.0.0.1")

    assert (caught.value.cause, caught.value.status) == (Cause.CREDENTIALS, 401)
    headers = caught.value.respond().headers
    assert headers == (("WWW-Authenticate", 'Red realm="x"'), ("WWW-Authenticate", "Brown"))


async def test_an_address_that_guesses_is_slowed_and_nobody_else() -> None:
    words = _Words("red")
    callers = Callers([words])
    await callers.authenticate(_headers("red right"), "10.0.0.1")
    statuses = []
    for number in range(ATTEMPT_BURST + 20):
        with pytest.raises(Refusal) as caught:
            await callers.authenticate(_headers(f"red {number}"), "10.0.0.1")
        statuses.append(caught.value.status)

    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert words.asked <= ATTEMPT_BURST + 3
    # Known callers are still accepted, and so are callers from other addresses.
    assert (await callers.authenticate(_headers("red right"), "10.0.0.1")).name == "red"
    assert (await callers.authenticate(_headers("red also right"), "10.0.0.2")).name == "red"


async def test_who_guesses_does_not_lock_out_a_user_behind_the_same_address() -> None:
    callers = Callers([_Words("red")])
    statuses: list[int] = []
    while 429 not in statuses:
        with pytest.raises(Refusal) as caught:
            await callers.authenticate(_headers("red wrong"), "10.0.0.1")
        statuses.append(caught.value.status)

    assert (await callers.authenticate(_headers("red hannah right"), "10.0.0.1")).name == "red"
