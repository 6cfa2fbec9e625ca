"""Logs what is wrong with MetricAccess objects, once for each state of an object."""

import logging

from injector.model.access.verdicts import judge_namespace
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
_MAX_PROBLEMS = 10


class MetricAccessLog:
    """Logs the problems of a cluster's MetricAccess objects when they change."""

    def __init__(self, cluster: ClusterState, platform: Platform) -> None:
        self._cluster = cluster
        self._platform = platform
        self._said: dict[tuple[str, str], tuple[str, ...]] = {}
        self._changed: set[str] = set()
        cluster.listeners.append(self._changed.add)

    def use_platform(self, platform: Platform) -> None:
        """Evaluate objects with other settings from now on."""
        self._platform = platform
        self._changed.update(self._cluster.namespaces_with("MetricAccess"))

    def write(self) -> None:
        """Log what has changed since the last call."""
        changed = sorted(self._changed)
        self._changed.clear()
        for namespace in changed:
            for item in judge_namespace(self._cluster, namespace, self._platform):
                self._say(namespace, item.name, item.problems)

    def _say(self, namespace: str, name: str, problems: tuple[str, ...]) -> None:
        before = self._said.get((namespace, name), ())
        if problems == before:
            return
        self._said.pop((namespace, name), None)
        place = {"namespace": namespace, "object": name}
        if not problems:
            logger.info("MetricAccess object is fully active", extra=place)
            return
        while len(self._said) >= MAX_REMEMBERED:
            del self._said[next(iter(self._said))]
        self._said[namespace, name] = problems
        logger.warning(
            "MetricAccess object is not fully active",
            extra={**place, "problems": list(problems[:_MAX_PROBLEMS]), "count": len(problems)},
        )
