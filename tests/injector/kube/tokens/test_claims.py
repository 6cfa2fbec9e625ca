"""Claims of tokens, read without an API server."""

import base64
import json

import pytest

from injector.errors import IdentityError
from injector.kube.tokens.claims import check_claims

_POD = {"pod": {"name": "web-0", "uid": "1"}}
_GOOD = {"aud": ["livery-control"], "exp": 2000, "kubernetes.io": _POD}


def _token(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def _status(token: str) -> int:
    with pytest.raises(IdentityError) as caught:
        check_claims(token, "livery-control", 1000.0)
    return caught.value.status


def test_a_pods_token_passes_and_says_when_it_ends() -> None:
    assert check_claims(_token(_GOOD), "livery-control", 1000.0).expires_at == 2000.0


def test_one_audience_may_be_a_plain_text() -> None:
    assert check_claims(_token(_GOOD | {"aud": "livery-control"}), "livery-control", 0.0)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"aud": ["other"]}, 401), ({"aud": None}, 401), ({"aud": [1, {}]}, 401),
        ({"exp": 999}, 401), ({"kubernetes.io": None}, 403), ({"kubernetes.io": {"pod": 1}}, 403),
        ({"kubernetes.io": {"pod": {"name": "web-0"}}}, 403),
    ],
)  # fmt: skip
def test_what_cannot_be_a_pods_token_is_refused_without_asking(
    change: dict[str, object], status: int
) -> None:
    assert _status(_token(_GOOD | change)) == status


@pytest.mark.parametrize(
    "token",
    [
        "", "x", "a.b.c", "a.b.c.d", "..", "e30.W10.x", "e30.e30.", "\ud800.\ud800.\ud800",
        "x" * 20_000, "e30." + base64.b64encode(b"[" * 9_000).decode() + ".x", "e30.MQ.x",
        "e30.bnVsbA.x",
    ],
)  # fmt: skip
def test_what_is_not_a_token_is_refused(token: str) -> None:
    assert _status(token) == 401


@pytest.mark.parametrize("expiry", ["soon", True, -1, 1e300, None])
def test_an_expiry_that_is_not_a_time_is_left_to_the_api_server(expiry: object) -> None:
    claims = check_claims(_token(_GOOD | {"exp": expiry}), "livery-control", 1000.0)

    assert claims.expires_at is None
