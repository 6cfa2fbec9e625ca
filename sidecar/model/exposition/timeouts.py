"""The timeout that a scraper sends with its scrape.

Source: https://prometheus.io/docs/instrumenting/writing_exporters/
"""

import contextlib
import math
from collections.abc import Mapping

DEFAULT_TIMEOUT_SECONDS = 9.0
"""Below Prometheus's default of 10 s."""
MAX_TIMEOUT_SECONDS = 120.0
_MARGIN_SECONDS = 0.5


def scrape_timeout(headers: Mapping[str, str]) -> float:
    """Return the timeout for targets: the scraper's timeout, less a margin for the answer."""
    with contextlib.suppress(ValueError):
        text = headers.get("x-prometheus-scrape-timeout-seconds", "")
        given = float(text.replace("_", "?"))  # Python reads 1_0 as 10, Go does not
        if math.isfinite(given) and given > 0:
            return min(given - min(_MARGIN_SECONDS, given / 10), MAX_TIMEOUT_SECONDS)
    return DEFAULT_TIMEOUT_SECONDS
