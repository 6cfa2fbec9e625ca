"""Refused requests, and their error responses in the format of Prometheus' API."""

import json
from collections.abc import Mapping

from sidecar.errors import LiveryError
from sidecar.http.messages import Response
from sidecar.model.described import Described

JSON = "application/json"


class Cause(Described):
    """Why a request is refused; a label value of the metric."""

    CREDENTIALS = "credentials", "the credentials are missing or invalid"
    TENANT = "tenant", "the caller may not act as the tenant that it names, or must name one"
    ENDPOINT = "endpoint", "the path or method is not served"
    PARAMETERS = "parameters", "a parameter is unknown, repeated, or malformed"
    QUERY = "query", "the query cannot be parsed"
    ACCESS = "access", "the query cannot be answered exactly under the access rules"
    RATE = "rate", "too many requests, per second or at once"
    SIZE = "size", "the query, the response or the time range exceeds a limit"
    BACKEND = "backend", "no backend gives a valid response"
    POLICY = "policy", "the access rules are missing, out of date, or just changed"
    CONTROL = "control", "the injector cannot review a token now"


class Refusal(LiveryError):
    """A request that is refused.

    Args:
        cause: why.
        status: HTTP status of the response.
        sentence: the error message: what is wrong, and what to change.
        retry_seconds: when to retry; None if a retry does not help.
        challenges: values of WWW-Authenticate headers.
        kind: the API's `errorType`; empty for the default of the status.
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
        """Return the error response, in the format of Prometheus' API."""
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
    """Return a successful response with the gateway's own data."""
    return Response(200, json.dumps({"status": "success", "data": data}).encode(), JSON)
