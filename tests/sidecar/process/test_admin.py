import pytest

from sidecar.process.admin import answer_admin
from sidecar.process.readiness import Obstacle, Readiness, Reason

_READY = Readiness()
_NOT = Readiness((Obstacle(Reason.POLICY, "no policy yet"), Obstacle(Reason.PORT, "busy")))


def _render() -> bytes:
    return b"a 1\n"


@pytest.mark.parametrize(
    ("path", "readiness", "status", "body"),
    [
        ("/healthz", _READY, 200, b"ok\n"),
        ("/healthz", _NOT, 200, b"ok\n"),
        ("/readyz", _READY, 200, b"ok\n"),
        ("/readyz", _NOT, 503, b"policy: no policy yet\nport: busy\n"),
    ],
)
def test_only_readiness_depends_on_why_scrapes_are_refused(
    path: str, readiness: Readiness, status: int, body: bytes
) -> None:
    assert answer_admin(path, readiness, _render)[:2] == (status, body)


def test_the_own_metrics_are_served_as_text_though_scrapes_are_refused() -> None:
    response = answer_admin("/metrics", _NOT, _render)

    assert (response.status, response.body) == (200, b"a 1\n")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("path", ["", "/", "/metrics/", "/healthz/x", "/METRICS"])
def test_another_path_is_answered_with_those_that_are_served(path: str) -> None:
    response = answer_admin(path, _READY, _render)

    assert response.status == 404
    assert response.body.startswith(b"not found; paths served here: /metrics, /healthz, /readyz")
