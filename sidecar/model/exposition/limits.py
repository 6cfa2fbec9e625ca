"""Limits on what one target may expose."""

import re
from typing import NamedTuple

from sidecar.errors import SettingsError

MIB = 1 << 20


class Limits(NamedTuple):
    """One target's limits; the defaults are those of a pod."""

    samples: int = 50_000
    labels: int = 1_024
    """Labels of one series; empty labels are not counted."""
    cache_bytes: int = 16 * MIB
    """Size of its series cache; a body that does not fit is parsed again at each scrape."""
    lines_bytes: int = 24 * MIB
    """Size of the series with their added labels, which can make a small body large."""


NODE_LIMITS = Limits(samples=1_000_000, cache_bytes=96 * MIB, lines_bytes=512 * MIB)
"""Limits for a node's kubelet; for scale: 500 pods expose 63,000 lines, 28 MB."""


class SettableLimit(NamedTuple):
    """A limit that users may set."""

    name: str
    default: int
    most: int

    def parse(self, text: str) -> int:
        """Parse a value: a number, which for bytes may have a unit, such as `64Mi`.

        Raises:
            SettingsError: it is not such a number, or not from 1 to `most`.
        """
        match = re.fullmatch(r"([0-9]{1,12})(Ki|Mi|Gi)?", text.strip(), re.ASCII)
        units = {None: 1, "Ki": 1 << 10, "Mi": MIB, "Gi": 1 << 30}
        if match is None or (match[2] and self.name != "bytes"):
            kind = "a number of bytes, such as 64Mi" if self.name == "bytes" else "a number"
            raise SettingsError(f"{text[:40]!r} is not {kind}")
        value = int(match[1]) * units[match[2]]
        if not 1 <= value <= self.most:
            raise SettingsError(f"{text[:40]!r} is not from 1 to {self.most}")
        return value


LIMITS = (
    SettableLimit("samples", Limits().samples, 2_000_000),
    SettableLimit("labels", Limits().labels, 10_000),
    SettableLimit("bytes", 10 * MIB, 512 * MIB),
)
"""In the order of the documentation; their annotations are `livery.dev/NAME-limit`."""
