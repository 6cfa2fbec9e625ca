"""Parses a request's parameters once and strictly; the request to a backend is built from them.

Parameters are in the URL or in a form, never in both: two parsers of one request could otherwise
see two different requests. Only `namespace`, which no backend reads, may be in the URL of a POST
with a form.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import quote_plus, unquote_to_bytes

from sidecar.gateway.refusals import Cause, Refusal
from sidecar.http.messages import Request

MAX_PARAMETERS = 500
PARAMETER = "namespace"
"""The parameter that names the tenant."""
FORM = "application/x-www-form-urlencoded"
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")

Parameters = Mapping[str, Sequence[str]]


def read_parameters(request: Request) -> dict[str, list[str]]:
    """Return the values of each parameter, in their order.

    Raises:
        Refusal: they are in two places, too many, or not percent-encoded UTF-8.
    """
    text = request.query
    if request.method == "POST" and request.body:
        if any(pair.partition("=")[0] != PARAMETER for pair in request.query.split("&") if pair):
            _refuse("parameters of a POST must be in its body or in the URL, not in both")
        kind, _, rest = request.headers.get("content-type", "").partition(";")
        charset = rest.strip().lower().replace('"', "")
        if kind.strip().lower() != FORM or charset not in ("", "charset=utf-8"):
            _refuse(f"the Content-Type of a POST must be {FORM}")
        text = "&".join(filter(None, [request.query, request.body.decode("latin-1")]))
    elif request.body:
        _refuse(f"a {request.method} must not have a body")
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in text.split("&") if pair] if text else []
    if len(pairs) > MAX_PARAMETERS:
        _refuse(f"more than {MAX_PARAMETERS} parameters")
    for pair in pairs:
        name, _, value = pair.partition("=")
        found.setdefault(_decode(name), []).append(_decode(value))
    return found


def write_parameters(parameters: Sequence[tuple[str, str]]) -> str:
    """Encode parameters for a URL or a form."""
    return "&".join(
        f"{quote_plus(name)}={quote_plus(value, errors='surrogateescape')}"
        for name, value in parameters
    )


def check_parameters(
    parameters: Parameters, single: frozenset[str], repeated: frozenset[str]
) -> None:
    """Check that an endpoint accepts these parameters.

    Raises:
        Refusal: a parameter is unknown, or is repeated although it may have only one value.
    """
    for name, values in parameters.items():
        if name in repeated:
            continue
        if name not in single:
            known = ", ".join(sorted(single | repeated)) or "none"
            _refuse(f"unknown parameter {name[:60]!r}; known here: {known}")
        if len(values) > 1:
            _refuse(f"parameter {name!r} is given {len(values)} times; give it once")


def _decode(text: str) -> str:
    if _BAD_ESCAPE.search(text) is not None:
        _refuse(f"{text[:60]!r} has a percent sign without two hexadecimal digits after it")
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeDecodeError:
        _refuse(f"{text[:60]!r} is not UTF-8")


def _refuse(sentence: str) -> NoReturn:
    raise Refusal(Cause.PARAMETERS, 400, sentence)
