"""Why a request is refused, and how Prometheus' API says it."""

import json
from collections.abc import Mapping

from sidecar.errors import LiveryError
from sidecar.http.messages import Response
from sidecar.model.described import Described

JSON = "application/json"


class Cause(Described):
    """What a request is refused for; the metric counts by it."""

    CREDENTIALS = "credentials", "nobody is known by its credentials"
    TENANT = "tenant", "it names a tenant that its user may not be, or none of several"
    ENDPOINT = "endpoint", "the path or method is not served"
    PARAMETERS = "parameters", "a parameter is unknown, doubled, or not readable"
    QUERY = "query", "the query cannot be parsed"
    ACCESS = "access", "the access rules do not let the query through as it stands"
    RATE = "rate", "the tenant asks too often or too much at once"
    SIZE = "size", "the answer or the time range is larger than the tenant may ask for"
    BACKEND = "backend", "no backend answers as it must"
    POLICY = "policy", "there are no access rules that can be used"
    CONTROL = "control", "the injector cannot judge a token now"


class Refusal(LiveryError):
    """A request that is not answered.

    Args:
        cause: what for.
        status: of the response.
        sentence: what to change.
        retry_seconds: when to try again; None where that changes nothing.
        challenges: the credentials that are asked for, as WWW-Authenticate has them.
        kind: the API's `errorType`; empty for that of the status.
    """

    def __init__(
        self,
        cause: Cause,
        status: int,
        sentence: str,
        *,
        retry_seconds: float | None = None,
        challenges: tuple[str, ...] = (),
        kind: str = "",
    ) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.status = status
        self.retry_seconds = retry_seconds
        self.challenges = challenges
        self.kind = kind

    def respond(self) -> Response:
        """Make the response of it, as Prometheus' API has errors."""
        headers = [("WWW-Authenticate", challenge) for challenge in self.challenges]
        if self.retry_seconds is not None:
            headers.append(("Retry-After", str(max(1, round(self.retry_seconds)))))
        kind = self.kind or _KINDS.get(self.status, "internal")
        said = {"status": "error", "errorType": kind, "error": str(self)}
        return Response(self.status, json.dumps(said).encode(), JSON, tuple(headers))


_KINDS: Mapping[int, str] = {
    400: "bad_data", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "bad_data",
    422: "execution", 429: "too_many_requests", 502: "internal", 503: "unavailable",
    504: "timeout",
}  # fmt: skip


def succeeded(data: object) -> Response:
    """Answer with data of our own."""
    return Response(200, json.dumps({"status": "success", "data": data}).encode(), JSON)
