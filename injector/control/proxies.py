"""All proxies that are known, whichever replica of the injector they have their stream to."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from injector.control.hub import PolicyHub
from injector.control.reports import Pod, Report, Reports
from injector.model.access.sending import ObjectName, SendingFacts, gather_sending

SENDING_SECONDS = 180.0
"""After which a sender counts no more that was not heard of: it reports once a minute."""


class Proxy(NamedTuple):
    """One proxy, as a replica knows it."""

    published: str
    """Version of the policy that it was sent last; empty where it has no stream."""
    report: Report | None


class Proxies:
    """What this replica knows, and what the others said last."""

    def __init__(self, hub: PolicyHub, reports: Reports) -> None:
        self.hub = hub
        self.reports = reports
        self.listeners: list[Callable[[], None]] = []
        """Called whenever another replica said something new."""
        self._peers: dict[str, Mapping[Pod, Proxy]] = {}
        self._silent: dict[str, str] = {}
        """Why a replica did not say, by its name."""
        self._unlisted: str | None = None
        """Why it is not known which replicas there are; empty where nobody has looked yet."""

    def own(self) -> dict[Pod, Proxy]:
        """Return the proxies that have a stream here, or reported here."""
        published = self.hub.published_versions()
        self.reports.forget_silent(published)
        return {
            pod: Proxy(published.get(pod, ""), self.reports.get(pod))
            for pod in {*published, *self.reports}
        }

    def all(self) -> dict[Pod, Proxy]:
        """Return the proxies that any replica knows; of several reports the newest."""
        found = self.own()
        for proxies in list(self._peers.values()):
            for pod, proxy in proxies.items():
                known = found.get(pod)
                found[pod] = proxy if known is None else _merged(known, proxy)
        return found

    def sending(self) -> Mapping[ObjectName, SendingFacts]:
        """Return how forwarding goes, by object, over all proxies that are known."""
        reports = (proxy.report for proxy in self.all().values())
        since = time.time() - SENDING_SECONDS
        return gather_sending(
            item
            for report in reports
            if report is not None and report.received_at >= since
            for item in report.sending
        )

    def connected(self) -> set[Pod]:
        """Return those with a stream to any replica."""
        found = set(self.hub.published_versions())
        for proxies in list(self._peers.values()):
            found.update(pod for pod, proxy in proxies.items() if proxy.published)
        return found

    @property
    def is_complete(self) -> bool:
        """Whether every replica said what it knows."""
        return not self._silent and self._unlisted is None

    def problems(self) -> Sequence[str]:
        """Say which replicas did not, a sentence each."""
        unlisted = (
            [f"the replicas cannot be listed, only this one's proxies are shown: {self._unlisted}"]
            if self._unlisted
            else []
        )
        return unlisted + [
            f"replica {name} cannot be asked, its proxies are not shown: {reason}"
            for name, reason in sorted(self._silent.items())
        ]

    def take(self, replica: str, proxies: Mapping[Pod, Proxy]) -> None:
        """Keep what another replica knows."""
        was_silent = self._silent.pop(replica, None) is not None
        if was_silent or self._peers.get(replica) != proxies:
            self._peers[replica] = proxies
            self._ring()

    def lose(self, replica: str, reason: str) -> None:
        """Forget what a replica knew, for it cannot be asked."""
        self._peers.pop(replica, None)
        self._silent[replica] = reason
        self._ring()

    def expect(self) -> None:
        """Know that there may be other replicas, and nothing of them yet."""
        self._unlisted = ""

    def lose_all(self, reason: str) -> None:
        """Forget what all of them knew, for it cannot be found out which there are."""
        self._peers.clear()
        self._silent.clear()
        self._unlisted = reason
        self._ring()

    def keep_only(self, replicas: set[str]) -> None:
        """Forget replicas that are gone: these are all that there are."""
        self._unlisted = None
        for held in (self._peers, self._silent):
            for name in held.keys() - replicas:
                del held[name]

    def _ring(self) -> None:
        for listener in self.listeners:
            listener()


def _merged(one: Proxy, other: Proxy) -> Proxy:
    reports = [report for report in (one.report, other.report) if report is not None]
    newest = max(reports, key=lambda report: report.received_at, default=None)
    return Proxy(one.published or other.published, newest)
