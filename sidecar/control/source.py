"""Source of a proxy's policy, the same in all roles: a file, or the control service."""

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

from sidecar.control.client import ControlClient
from sidecar.control.policy_file import PolicyFile, load_policy
from sidecar.control.receivers import PolicyReceiver
from sidecar.control.reports import ProxyState, build_report
from sidecar.control.settings import ControlSettings
from sidecar.process.metrics import Family, Telemetry

logger = logging.getLogger(__name__)

P = TypeVar("P")


def policy_families(prefix: str) -> tuple[Family, ...]:
    """Describe the metrics of every role's policy; their names start with `prefix`."""
    return (
        Family("gauge", f"{prefix}_control_connected", "Whether the policy stream is open."),
        Family("gauge", f"{prefix}_policy_age_seconds", "Time since the policy became active."),
        Family("counter", f"{prefix}_policies_rejected_total", "Policies that could not be used."),
    )


class PolicySource(Generic[P]):
    """Source of a proxy's policy; the last good policy stays active.

    Args:
        apply: called with each usable policy.
        fault: why nothing can be served before the first policy; empty if the role works without.
    """

    def __init__(self, apply: Callable[[P], None], fault: str = "") -> None:
        self._apply = apply
        self._file: PolicyFile[P] | None = None
        self._applied_at = self._started_at = time.monotonic()
        self.fault = fault
        """Why nothing can be served; empty if something can."""
        self.client: ControlClient[P] | None = None
        """The connection to the control service, for policies, reports and token reviews."""
        self._rejected = 0
        """Files that could not be used."""

    @property
    def age_seconds(self) -> float:
        """Time since the policy became active, or since the start."""
        return time.monotonic() - self._applied_at

    @property
    def silence_seconds(self) -> float:
        """Time since the control service's last message, or since the start."""
        confirmed_at = None if self.client is None else self.client.confirmed_at
        return time.monotonic() - (confirmed_at or self._started_at)

    @property
    def uncertain_seconds(self) -> float:
        """Time since the policy was last known to be current; 0 for a policy from a file."""
        if self._file is not None or self.client is None:
            return 0.0
        return time.monotonic() - (self.client.current_at or self._started_at)

    def use_file(
        self,
        path: Path,
        parse: Callable[[object], P],
        load: Callable[[Path], object] = load_policy,
    ) -> None:
        """Take policies from a file, in place of the stream.

        Args:
            path: the file, or a folder if `load` reads folders.
            parse: builds a policy from the document.
            load: reads the document.
        """
        self._file = PolicyFile(path, parse, self.take, self._reject, load=load)

    def connect(self, settings: ControlSettings, receiver: PolicyReceiver[P]) -> ControlClient[P]:
        """Take policies from the control service, unless there is a file; returns the connection.

        Raises:
            SettingsError: the service's URL or CA cannot be used.
        """
        self.client = ControlClient(settings, receiver, self.take)
        return self.client

    def take(self, policy: P) -> None:
        """Make a policy active."""
        self.fault = ""
        self._applied_at = time.monotonic()
        self._apply(policy)

    def read(self) -> None:
        """Read the file now, if there is one."""
        if self._file is not None:
            self._file.read()

    def tasks(self, report: Callable[[], dict[str, object]]) -> list[Callable[[], Awaitable[None]]]:
        """Return the background tasks.

        Args:
            report: returns the report to the control service.
        """
        if self._file is not None:
            return [self._file.follow]
        if self.client is None:
            return []
        client = self.client
        return [client.run, lambda: client.run_reports(report)]

    def changed(self) -> None:
        """Note that there is something new to report."""
        if self.client is not None:
            self.client.changed()

    def report(self, state: ProxyState) -> dict[str, object]:
        """Write a report about this proxy."""
        return build_report(state, self.client, self.age_seconds)

    def observe(self, telemetry: Telemetry, prefix: str) -> None:
        """Set the metrics that `policy_families` describes."""
        telemetry.set(f"{prefix}_policy_age_seconds", round(self.age_seconds, 3))
        rejected = self._rejected
        if self.client is not None:
            rejected += self.client.rejected
            if self._file is None:  # with a file, no stream is opened
                telemetry.set(f"{prefix}_control_connected", int(self.client.is_connected))
        telemetry.set(f"{prefix}_policies_rejected_total", rejected)

    def _reject(self, reason: str, *, is_first: bool) -> None:
        self._rejected += 1
        if is_first:
            self.fault = f"the policy cannot be used: {reason}"
