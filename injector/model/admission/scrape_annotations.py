"""What a pod's `prometheus.io/…` annotations say, in all their spellings."""

from collections.abc import Mapping
from typing import NamedTuple

from injector.model.admission.outcomes import AdmissionWarning, WarningCode
from injector.model.cluster.names import SCRAPE_KEYS, SCRAPE_SLOW_SPELLING, SCRAPE_SPELLING


class ScrapeAnnotations(NamedTuple):
    """What they say, and every key that says it.

    `values` maps `scrape`, `port`, `path`, `scheme` to what counts; absent ones are missing.
    """

    values: Mapping[str, str]
    keys: tuple[str, ...]
    warnings: tuple[AdmissionWarning, ...]
    is_slow: bool
    """Whether `scrape-slow` asks for it."""

    @property
    def asks(self) -> bool:
        """Whether they ask to be scraped."""
        return self.is_slow or self.values.get("scrape") == "true"


def read_scrape_annotations(annotations: Mapping[str, str]) -> ScrapeAnnotations:
    """Gather all spellings; of two that differ `prometheus.io/` wins, else the smallest key."""
    spellings: dict[str, list[str]] = {name: [] for name in SCRAPE_KEYS}
    for key in sorted(annotations):
        match = SCRAPE_SPELLING.fullmatch(key)
        if match is not None:
            spellings[match[1]].append(key)
    values: dict[str, str] = {}
    warnings: list[AdmissionWarning] = []
    for name, keys in spellings.items():
        if not keys:
            continue
        canonical = f"prometheus.io/{name}"
        winner = canonical if canonical in keys else keys[0]
        values[name] = annotations[winner]
        losers = [key for key in keys if annotations[key] != annotations[winner]]
        if losers:
            text = f"annotations {winner} and {', '.join(losers)} differ; {winner} counts"
            warnings.append(AdmissionWarning(WarningCode.TWO_SPELLINGS, text))
    said = values.get("scrape", "")
    if said not in ("true", "false", ""):
        text = (
            f'annotation scrape: {said[:60]!r} is not "true", so Prometheus does not scrape the pod'
        )
        warnings.append(AdmissionWarning(WarningCode.BAD_ANNOTATION, text))
    found = sorted(key for keys in spellings.values() for key in keys)
    is_slow = any(
        text == "true" and SCRAPE_SLOW_SPELLING.fullmatch(key) for key, text in annotations.items()
    )
    return ScrapeAnnotations(values, tuple(found), tuple(warnings), is_slow)
