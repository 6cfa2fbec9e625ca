"""Headers of the scrape request that are passed on to targets: `livery.dev/pass-headers`."""

import re

from sidecar.errors import SettingsError

MAX_PASSED_HEADERS = 16
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OWN = re.compile(
    r"host|connection|keep-alive|te|trailer|upgrade|expect|user-agent"
    r"|(?:accept|content|transfer|proxy|x-prometheus)(?:-.*)?"
)
"""Headers that the proxy sets itself: they determine what it reads, and from where."""


def parse_passed_headers(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of header names; returns them in lower case, each once.

    Raises:
        SettingsError: a name is invalid or a header that the proxy sends itself, or there are more
            than `MAX_PASSED_HEADERS`.
    """
    names = dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip())
    if len(names) > MAX_PASSED_HEADERS:
        raise SettingsError(f"{len(names)} headers; at most {MAX_PASSED_HEADERS} can be passed on")
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise SettingsError(f"{name[:40]!r} is not a valid header name")
        if _OWN.fullmatch(name):
            raise SettingsError(f"{name!r} cannot be passed on: the proxy sends its own")
    return tuple(names)
