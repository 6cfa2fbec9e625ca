"""The values of a pod's `prometheus.io/…` annotations, in all their spellings."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

SCRAPE_KEYS = ("scrape", "port", "path", "scheme")
SCRAPE_SPELLING = re.compile(r"prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9](scrape|port|path|scheme)")
"""Every spelling of `prometheus.io/…` that scrape configurations in use understand."""
SCRAPE_SLOW_SPELLING = re.compile(r"prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9]scrape[^a-zA-Z0-9]slow")
"""The community chart's annotation for slow scraping; it uses the ordinary port and path."""


class ScrapeFault(StrEnum):
    """What is wrong with a pod's scrape annotations."""

    BAD_ANNOTATION = "bad-annotation"
    """An annotation has an invalid value."""
    TWO_SPELLINGS = "two-spellings"
    """Two spellings of one annotation differ."""
    BAD_TARGET = "bad-target"
    """A target cannot be scraped and is left out."""
    GUESSED_TARGETS = "guessed-targets"
    """Several ports are declared and no annotation says which has the metrics."""


class ScrapeWarning(NamedTuple):
    """One problem that the pod's owner should know about."""

    fault: ScrapeFault
    text: str


class ScrapeAnnotations(NamedTuple):
    """The values of the annotations, and every key that sets one.

    `values` maps `scrape`, `port`, `path` and `scheme` to values in effect; unset ones are absent.
    """

    values: Mapping[str, str]
    keys: tuple[str, ...]
    warnings: tuple[ScrapeWarning, ...]
    is_slow: bool
    """Whether `scrape-slow` requests scraping."""

    @property
    def asks(self) -> bool:
        """Whether the annotations request scraping."""
        return self.is_slow or self.values.get("scrape") == "true"


def read_scrape_annotations(annotations: Mapping[str, str]) -> ScrapeAnnotations:
    """Combine all spellings; if two differ, `prometheus.io/` wins, else the smallest key."""
    spellings: dict[str, list[str]] = {name: [] for name in SCRAPE_KEYS}
    for key in sorted(annotations):
        match = SCRAPE_SPELLING.fullmatch(key)
        if match is not None:
            spellings[match[1]].append(key)
    values: dict[str, str] = {}
    warnings: list[ScrapeWarning] = []
    for name, keys in spellings.items():
        if not keys:
            continue
        canonical = f"prometheus.io/{name}"
        winner = canonical if canonical in keys else keys[0]
        values[name] = annotations[winner]
        losers = [key for key in keys if annotations[key] != annotations[winner]]
        if losers:
            text = f"annotations {winner} and {', '.join(losers)} differ; {winner} is used"
            warnings.append(ScrapeWarning(ScrapeFault.TWO_SPELLINGS, text))
    said = values.get("scrape", "")
    if said not in ("true", "false", ""):
        text = (
            f'annotation scrape: {said[:60]!r} is not "true", so Prometheus does not scrape the pod'
        )
        warnings.append(ScrapeWarning(ScrapeFault.BAD_ANNOTATION, text))
    found = sorted(key for keys in spellings.values() for key in keys)
    is_slow = any(
        text == "true" and SCRAPE_SLOW_SPELLING.fullmatch(key) for key, text in annotations.items()
    )
    return ScrapeAnnotations(values, tuple(found), tuple(warnings), is_slow)
