"""Targets of pods on loopback."""

from collections.abc import Sequence

from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.targets import Target
from sidecar.scrape.pods.answer import PodsAnswer
from sidecar.scrape.pods.scraper import PodsScraper
from sidecar.scrape.pods.settings import PodsLimits, PodsSettings
from sidecar.scrape.pods.targets import PodTarget
from sidecar.scrape.request import ScrapeRequest
from tests.sidecar.apps import App

WANTED = Negotiated(Format.TEXT, Escaping.ALLOW_UTF8)
_DEFAULT = PodsLimits()


def pod_target(
    name: str,
    port: int,
    *,
    namespace: str = "shop",
    has_proxy: bool = False,
    settings: PodsSettings = PodsSettings(),  # noqa: B008
) -> PodTarget:
    """The only target of a pod, on loopback."""
    return PodTarget(
        name,
        namespace,
        name,
        Target("web", "http", "127.0.0.1", port, "/metrics"),
        ("127.0.0.1",),
        ((settings.namespace_label, namespace), (settings.pod_label, name)),
        has_proxy,
    )


def scraper_of(
    apps: Sequence[App],
    settings: PodsSettings = PodsSettings(),  # noqa: B008
    limits: PodsLimits = _DEFAULT,
) -> PodsScraper:
    """A scraper of pods `web-0`, `web-1`, …, one for each application."""
    scraper = PodsScraper(settings, limits)
    scraper.set_targets([pod_target(f"web-{at}", app.port) for at, app in enumerate(apps)])
    return scraper


async def scrape(
    scraper: PodsScraper, timeout_seconds: float = 5.0, wanted: Negotiated = WANTED
) -> PodsAnswer:
    return await scraper.scrape(ScrapeRequest(wanted), timeout_seconds)


def text_of(answer: PodsAnswer) -> str:
    """The pods' own series of an answer, without what the proxy adds."""
    whole = b"".join(answer.chunks()).decode()
    return whole.partition("# HELP up ")[0]
