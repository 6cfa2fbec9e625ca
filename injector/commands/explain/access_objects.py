"""Reads tenants' MetricAccess objects, from files or the cluster, for several commands."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from injector.commands.inputs import parse_platform_text, placed, read_all, read_platform
from injector.errors import SettingsError
from injector.model.access.verdicts import AccessVerdict
from injector.model.cluster.objects import metadata_of, namespace_of
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform


def add_access_arguments(add: Any) -> None:
    """Add the arguments that select the source of the objects.

    Args:
        add: the parser's `add_argument`.
    """
    add("-f", "--filename", action="append", default=[], metavar="FILE",
        help="Namespace and MetricAccess objects, instead of the cluster's: a file, a folder, "
        "an http(s) URL, or - for stdin")  # fmt: skip
    add("--platform", type=Path, metavar="FILE",
        help="with -f: platform settings (YAML), which may grant other namespaces")  # fmt: skip
    add("--livery-namespace", default="livery-system", help="Livery's namespace (%(default)s)")
    add("--release", default="livery", help="Helm release (%(default)s)")


def read_tenants(
    given: argparse.Namespace, tenants: Sequence[str]
) -> tuple[Platform, ClusterState]:
    """Read the objects of tenants, and the platform settings that apply to them.

    Args:
        given: the arguments of `add_access_arguments`.
        tenants: namespaces; in files, objects that name no namespace belong to the first one.

    Raises:
        SettingsError: the arguments contradict each other, or a file cannot be read.
    """
    if given.platform is not None and not given.filename:
        raise SettingsError("--platform needs -f: without it, the cluster's own settings apply")
    return _read_files(given, tenants[0]) if given.filename else _read_cluster(given, tenants)


def _read_files(given: argparse.Namespace, usual: str) -> tuple[Platform, ClusterState]:
    cluster = ClusterState()
    for manifest in read_all(given.filename):
        with placed(manifest):
            kind = manifest.obj.get("kind")
            if kind == "MetricAccess":
                metadata = dict(metadata_of(manifest.obj))
                metadata["namespace"] = namespace_of(manifest.obj) or usual
                cluster.put(kind, {**manifest.obj, "metadata": metadata})
            elif kind == "Namespace":
                cluster.put(kind, manifest.obj)
    return read_platform(given.platform), cluster


def _read_cluster(
    given: argparse.Namespace, tenants: Sequence[str]
) -> tuple[Platform, ClusterState]:
    # Imported only here: commands on files do not load the client, which takes 24 MB.
    from injector.kube.api.client import connect
    from injector.kube.objects.installed import (
        read_access_objects,
        read_installed_platform,
        read_surroundings,
    )

    client = connect()
    platform = read_installed_platform(
        client, given.livery_namespace, given.release, parse_platform_text
    )
    cluster = ClusterState()
    for tenant in tenants:
        for kind, obj in read_surroundings(client, tenant):
            cluster.put(kind, obj)
        if cluster.namespace(tenant) is None:
            raise SettingsError(f"there is no namespace {tenant[:63]!r}")
        for obj in read_access_objects(client, tenant):
            cluster.put("MetricAccess", obj)
    return platform, cluster


def describe_reading(verdict: AccessVerdict) -> dict[str, Any]:
    """Describe what an object lets its tenant read; empty if it grants nothing."""
    access, grant = verdict.metric_access, verdict.grant
    if access is None or grant is None:
        return {}
    names = grant.namespaces
    return {
        "shows": [fact.pattern for fact in access.patterns if fact.is_valid],
        "labelSelectors": dict(access.label_selectors),
        "namespaces": "*" if names is None else sorted(names),
    }


def write_reading(facts: Mapping[str, Any]) -> str:
    """Write what `describe_reading` returns."""
    labels = ", ".join(f"{key}={value}" for key, value in facts["labelSelectors"].items())
    names = facts["namespaces"]
    where = "all namespaces" if names == "*" else ", ".join(names)
    shows = ", ".join(facts["shows"]) or "nothing"
    return f"{shows}{labels and f' with {labels}'} in {where}"
