"""What a node proxy or a gateway asks about a third party's token."""

import json

from injector.control.identity import AccessAttributes
from injector.errors import RequestError

MAX_TOKEN_CHARACTERS = 16 << 10


def read_question(body: bytes) -> tuple[str, AccessAttributes | None]:
    """Read `{"token": …, "access": {"verb": …, "path": …}}`, or with `resource` and its like.

    Raises:
        RequestError: 400, it is something else.
    """
    try:
        question = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the question is not JSON") from error
    if not isinstance(question, dict) or set(question) - {"token", "access"}:
        raise RequestError(400, "the question is not an object with a token and an access")
    token, access = question.get("token"), question.get("access")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise RequestError(400, "token: a string is needed")
    if access is None:
        return token, None
    if not isinstance(access, dict) or not all(isinstance(text, str) for text in access.values()):
        raise RequestError(400, "access: an object of strings is needed")
    unknown = sorted(set(access) - set(AccessAttributes._fields))
    if unknown:
        known = ", ".join(AccessAttributes._fields)
        raise RequestError(400, f"access.{unknown[0][:40]}: not a field (known here: {known})")
    read = AccessAttributes(**{"verb": "", **access})
    if not read.verb or bool(read.path) == bool(read.resource):
        raise RequestError(400, "access: a verb is needed, and either a path or a resource")
    return token, read
