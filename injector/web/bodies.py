"""Request bodies, read up to a bound and within a time."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from injector.errors import RequestError

BODY_TIMEOUT_SECONDS = 10.0
_UNREAD = (408, 413)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Read a whole body.

    Args:
        request: the request.
        limit_bytes: the most that is read.

    Raises:
        RequestError: it is larger (413), too slow (408), or broke off (400).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit_bytes:
        raise RequestError(413, f"the body is larger than {limit_bytes} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit_bytes:
                    raise RequestError(413, f"the body is larger than {limit_bytes} bytes")
    except TimeoutError:
        raise RequestError(408, f"no whole body within {BODY_TIMEOUT_SECONDS:g} s") from None
    except ClientDisconnect:
        raise RequestError(400, "the body broke off") from None
    return bytes(body)


def refusal(error: Exception, status: int) -> Response:
    """Answer with an error in one line; close the connection if its body was not read whole."""
    headers = {"Connection": "close"} if status in _UNREAD else {}
    return PlainTextResponse(f"{error}\n", status_code=status, headers=headers)
