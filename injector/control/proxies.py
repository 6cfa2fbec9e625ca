"""All known proxies, whichever injector replica they are connected to."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from injector.control.hub import PolicyHub
from injector.control.reports import Pod, Report, Reports
from injector.model.access.sending import ObjectName, SendingFacts, gather_sending

SENDING_SECONDS = 180.0
"""Senders whose last report is older are ignored; each reports once a minute."""


class Proxy(NamedTuple):
    """One proxy, as a replica knows it."""

    published: str
    """Policy version that was last sent to it; empty if it has no stream."""
    report: Report | None


class Proxies:
    """The proxies that this replica knows, and those last reported by the others."""

    def __init__(self, hub: PolicyHub, reports: Reports) -> None:
        self.hub = hub
        self.reports = reports
        self.listeners: list[Callable[[], None]] = []
        """Called whenever the data about other replicas' proxies changes."""
        self._peers: dict[str, Mapping[Pod, Proxy]] = {}
        self._silent: dict[str, str] = {}
        """Why a replica could not be queried, by its name."""
        self._unlisted: str | None = None
        """Why the replicas are unknown; empty before the first listing, None if they are known."""

    def own(self) -> dict[Pod, Proxy]:
        """Return the proxies that have a stream to this replica or reported to it."""
        published = self.hub.published_versions()
        self.reports.forget_silent(published)
        return {
            pod: Proxy(published.get(pod, ""), self.reports.get(pod))
            for pod in {*published, *self.reports}
        }

    def all(self) -> dict[Pod, Proxy]:
        """Return the proxies that any replica knows, each with its newest report."""
        found = self.own()
        for proxies in list(self._peers.values()):
            for pod, proxy in proxies.items():
                known = found.get(pod)
                found[pod] = proxy if known is None else _merged(known, proxy)
        return found

    def sending(self) -> Mapping[ObjectName, SendingFacts]:
        """Return the state of forwarding by object, over all known proxies."""
        reports = (proxy.report for proxy in self.all().values())
        since = time.time() - SENDING_SECONDS
        return gather_sending(
            item
            for report in reports
            if report is not None and report.received_at >= since
            for item in report.sending
        )

    def connected(self) -> set[Pod]:
        """Return the pods whose proxy has a stream to any replica."""
        found = set(self.hub.published_versions())
        for proxies in list(self._peers.values()):
            found.update(pod for pod, proxy in proxies.items() if proxy.published)
        return found

    @property
    def is_complete(self) -> bool:
        """Whether the data of every replica is available."""
        return not self._silent and self._unlisted is None

    def problems(self) -> Sequence[str]:
        """Return which replicas could not be queried, one sentence each."""
        unlisted = (
            [f"cannot list the replicas; only this replica's proxies are shown: {self._unlisted}"]
            if self._unlisted
            else []
        )
        return unlisted + [
            f"cannot query replica {name}; its proxies are not shown: {reason}"
            for name, reason in sorted(self._silent.items())
        ]

    def take(self, replica: str, proxies: Mapping[Pod, Proxy]) -> None:
        """Store the proxies that another replica knows."""
        was_silent = self._silent.pop(replica, None) is not None
        if was_silent or self._peers.get(replica) != proxies:
            self._peers[replica] = proxies
            self._ring()

    def lose(self, replica: str, reason: str) -> None:
        """Drop a replica's proxies because it cannot be queried."""
        self._peers.pop(replica, None)
        self._silent[replica] = reason
        self._ring()

    def expect(self) -> None:
        """Expect other replicas, about which nothing is known yet."""
        self._unlisted = ""

    def lose_all(self, reason: str) -> None:
        """Drop all other replicas' proxies because the replicas cannot be listed."""
        self._peers.clear()
        self._silent.clear()
        self._unlisted = reason
        self._ring()

    def keep_only(self, replicas: set[str]) -> None:
        """Drop every replica that is not in `replicas`, the complete list."""
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
