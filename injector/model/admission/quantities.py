"""Kubernetes quantities as exact numbers.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}))"
    r"(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse_quantity(value: object) -> Fraction | None:
    """Parse a quantity such as `250m`, `128Mi`, `1e3` or the number 2; None if it is invalid."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    number, suffix = Fraction(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:] or "0")
    return number * Fraction(f"1e{exponent}")


def render_quantity(value: Fraction, resource: str) -> str:
    """Write a quantity: CPU in milli-units, memory in the largest unit that is exact."""
    if resource == "cpu":
        milli = -(-value * 1000 // 1)  # rounded up
        return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
    size = int(-(-value // 1))
    for suffix, bits in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size and size % (1 << bits) == 0:
            return f"{size >> bits}{suffix}"
    return str(size)
