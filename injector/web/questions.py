"""What a node proxy or a gateway asks about a third party's token."""

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
    """Whose token is this, and may that user do something?"""

    token: str
    audiences: tuple[str, ...]
    """Of which the token must be for one; without any it must be for the API server."""
    access: AccessAttributes | None
    """What is to be done; None where it only matters whose the token is."""


def read_question(body: bytes) -> Question:
    """Read `{"token": …, "audiences": […], "access": {"verb": …, "path": …}}`.

    Audiences and access may be missing; in place of `path` an access may have `resource` and its
    like.

    Raises:
        RequestError: 400, it is something else.
    """
    try:
        question = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the question is not JSON") from error
    if not isinstance(question, dict) or set(question) - _FIELDS:
        raise RequestError(400, f"the question is not an object of {', '.join(sorted(_FIELDS))}")
    token = question.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise RequestError(400, "token: a string is needed")
    audiences = _read_audiences(question.get("audiences", []))
    return Question(token, audiences, _read_access(question.get("access")))


def _read_audiences(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_AUDIENCES:
        raise RequestError(400, f"audiences: a list of at most {MAX_AUDIENCES} is needed")
    for item in value:
        if not isinstance(item, str) or not 0 < len(item) <= _MAX_AUDIENCE_CHARACTERS:
            raise RequestError(400, "audiences: strings are needed")
    if TOKEN_AUDIENCE in value:
        # Such a token is a proxy's, for this service alone.
        raise RequestError(400, f"audiences: {TOKEN_AUDIENCE} is for nobody else")
    return tuple(sorted(set(value)))


def _read_access(access: Any) -> AccessAttributes | None:
    if access is None:
        return None
    if not isinstance(access, dict) or not all(isinstance(text, str) for text in access.values()):
        raise RequestError(400, "access: an object of strings is needed")
    unknown = sorted(set(access) - set(AccessAttributes._fields))
    if unknown:
        known = ", ".join(AccessAttributes._fields)
        raise RequestError(400, f"access.{unknown[0][:40]}: not a field (known here: {known})")
    read = AccessAttributes(**{"verb": "", **access})
    if not read.verb or bool(read.path) == bool(read.resource):
        raise RequestError(400, "access: a verb is needed, and either a path or a resource")
    return read
