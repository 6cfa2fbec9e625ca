"""Durations as Go writes them: 30s, 1h30m, 1.5h, 500ms.

Source: https://pkg.go.dev/time#ParseDuration
"""

import re

_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|h|m|s)")
_WHOLE = re.compile(f"(?:{_PART.pattern})+")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def parse_duration(text: str) -> float | None:
    """Return the seconds; None if the text is not a duration."""
    if _WHOLE.fullmatch(text) is None:
        return None
    return sum(float(part[1]) * _SECONDS[part[2]] for part in _PART.finditer(text))
