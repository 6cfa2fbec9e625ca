import pytest

from sidecar.process.admin import answer_admin


def _render() -> bytes:
    return b"a 1\n"


@pytest.mark.parametrize(
    ("path", "unready", "status", "body"),
    [
        ("/healthz", "", 200, b"ok\n"),
        ("/healthz", "no policy yet", 200, b"ok\n"),
        ("/readyz", "", 200, b"ok\n"),
        ("/readyz", "no policy yet", 503, b"no policy yet\n"),
    ],
)
def test_only_readiness_depends_on_why_scrapes_are_refused(
    path: str, unready: str, status: int, body: bytes
) -> None:
    assert answer_admin(path, unready, _render)[:2] == (status, body)


def test_the_own_metrics_are_served_as_text_though_scrapes_are_refused() -> None:
    response = answer_admin("/metrics", "no policy yet", _render)

    assert (response.status, response.body) == (200, b"a 1\n")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("path", ["", "/", "/metrics/", "/healthz/x", "/METRICS"])
def test_another_path_is_answered_with_those_that_are_served(path: str) -> None:
    response = answer_admin(path, "", _render)

    assert response.status == 404
    assert response.body.startswith(b"/metrics, /healthz and /readyz")
