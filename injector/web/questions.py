"""Token review requests: a node proxy or a gateway asks about a third party's token."""

import json
from typing import Any, NamedTuple

from injector.control.identity import AccessAttributes
from injector.errors import RequestError
from injector.model.cluster.names import TOKEN_AUDIENCE

MAX_TOKEN_CHARACTERS = 16 << 10
MAX_AUDIENCES = 8
_MAX_AUDIENCE_CHARACTERS = 200
_FIELDS = frozenset(["token", "audiences", "access"])


class Question(NamedTuple):
    """A review request: whose token is this, and may that user perform an action?"""

    token: str
    audiences: tuple[str, ...]
    """The token must be for one of these; if there are none, for the API server."""
    access: AccessAttributes | None
    """The action to authorize; None to authenticate only."""


def read_question(body: bytes) -> Question:
    """Read `{"token": …, "audiences": […], "access": {"verb": …, "path": …}}`.

    `audiences` and `access` are optional. Instead of `path`, `access` may have `resource` and the
    other attributes of a resource.

    Raises:
        RequestError: 400, the body has another form.
    """
    try:
        question = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the body is not JSON") from error
    if not isinstance(question, dict) or set(question) - _FIELDS:
        raise RequestError(400, f"the body must be an object of {', '.join(sorted(_FIELDS))}")
    token = question.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise RequestError(400, "token: must be a string, not empty and not too long")
    audiences = _read_audiences(question.get("audiences", []))
    return Question(token, audiences, _read_access(question.get("access")))


def _read_audiences(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_AUDIENCES:
        raise RequestError(400, f"audiences: must be a list of at most {MAX_AUDIENCES}")
    for item in value:
        if not isinstance(item, str) or not 0 < len(item) <= _MAX_AUDIENCE_CHARACTERS:
            raise RequestError(400, "audiences: must be strings, not empty and not too long")
    if TOKEN_AUDIENCE in value:
        # Tokens for this audience belong to proxies and are for this service only.
        raise RequestError(400, f"audiences: {TOKEN_AUDIENCE} is reserved for the injector")
    return tuple(sorted(set(value)))


def _read_access(access: Any) -> AccessAttributes | None:
    if access is None:
        return None
    if not isinstance(access, dict) or not all(isinstance(text, str) for text in access.values()):
        raise RequestError(400, "access: must be an object of strings")
    unknown = sorted(set(access) - set(AccessAttributes._fields))
    if unknown:
        known = ", ".join(AccessAttributes._fields)
        raise RequestError(400, f"access.{unknown[0][:40]}: unknown field (known: {known})")
    read = AccessAttributes(**{"verb": "", **access})
    if not read.verb or bool(read.path) == bool(read.resource):
        raise RequestError(400, "access: must have a verb, and either a path or a resource")
    return read
