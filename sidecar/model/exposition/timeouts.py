"""The time that a scraper gives for its scrape.

Source: https://prometheus.io/docs/instrumenting/writing_exporters/
"""

import contextlib
import math
from collections.abc import Mapping

DEFAULT_TIMEOUT_SECONDS = 9.0
"""Under Prometheus's default of ten."""
MAX_TIMEOUT_SECONDS = 120.0
_MARGIN_SECONDS = 0.5


def scrape_timeout(headers: Mapping[str, str]) -> float:
    """The time for the targets: what the scraper gives, less what the answer needs."""
    with contextlib.suppress(ValueError):
        text = headers.get("x-prometheus-scrape-timeout-seconds", "")
        given = float(text.replace("_", "?"))  # Python reads 1_0 as 10, Go does not
        if math.isfinite(given) and given > 0:
            return min(given - min(_MARGIN_SECONDS, given / 10), MAX_TIMEOUT_SECONDS)
    return DEFAULT_TIMEOUT_SECONDS
