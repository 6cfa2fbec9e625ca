import json

import pytest

from sidecar.gateway.refusals import Cause, Refusal, succeeded


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "bad_data"), (401, "unauthorized"), (422, "execution"), (429, "too_many_requests"),
     (503, "unavailable"), (418, "internal")],
)  # fmt: skip
def test_an_error_is_written_as_prometheus_writes_it(status: int, kind: str) -> None:
    response = Refusal(Cause.QUERY, status, "no").respond()

    assert response.status == status
    assert json.loads(response.body) == {"status": "error", "errorType": kind, "error": "no"}


def test_who_has_no_credentials_is_asked_for_them() -> None:
    refusal = Refusal(Cause.CREDENTIALS, 401, "no", challenges=("Basic", "Bearer"))

    challenges = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
    assert list(refusal.respond().headers) == challenges


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    assert ("Retry-After", "1") in Refusal(
        Cause.RATE, 429, "no", retry_seconds=0.1
    ).respond().headers


def test_data_of_our_own_is_a_success() -> None:
    assert json.loads(succeeded([]).body) == {"status": "success", "data": []}
