"""Admission cases: an object goes in, a decision comes out; webhook, command and policy agree.

`tests/golden/NAME/` holds a complete case: `input.yaml` (the cluster's objects, then the reviewed
object), `expected.yaml` (reason and warnings, then the result) and optionally `platform.yaml`.
`tests/golden/cases.yaml` is a table of pods that differ from the usual pod in one thing; a row
gives the outcome, and how its proxy differs from the usual pod's.
"""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from injector.commands.inputs import read_platform
from injector.commands.workloads import find_pod
from injector.files.documents import read_documents
from injector.files.manifests import write_manifests
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform

Json = dict[str, Any]

GOLDEN = Path(__file__).parents[1] / "golden"
USUAL = "annotated-pod-is-injected"
"""The golden case from which rows of the table differ."""
_NAMESPACE_LABELS = {
    "livery.dev/inject": "enabled", "kubernetes.io/metadata.name": "shop", "team": "blue",
}  # fmt: skip


class Case(NamedTuple):
    """The input of a decision."""

    cluster: ClusterState
    obj: Json
    namespace: str
    platform: Platform


class Expected(NamedTuple):
    """The expected outcome of a case."""

    reason: str | None
    """None for an object without a pod."""
    warnings: list[str]
    obj: Json | None
    """The whole result; None for a row of the table."""
    proxy: Json
    """For a row: how the proxy differs from the usual pod's."""


class Row(NamedTuple):
    """One row of the table."""

    fields: Json

    def case(self) -> Case:
        cluster = ClusterState()
        default = {"metadata": {"name": "shop", "labels": _NAMESPACE_LABELS}}
        for item in self.fields.get("cluster", [{"kind": "Namespace", **default}]):
            cluster.put(item["kind"], item)
        obj = self.fields.get("object") or self._pod()
        return Case(cluster, obj, obj["metadata"].get("namespace", "shop"), Platform())

    def _pod(self) -> Json:
        metadata = {
            "name": "web", "namespace": self.fields.get("namespace", "shop"),
            "annotations": self.fields["annotations"],
        }  # fmt: skip
        spec = {"containers": [{"name": "web", "image": "web:1"}], **self.fields.get("spec", {})}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def expected(self) -> Expected:
        fields = self.fields
        return Expected(fields["reason"], fields["warnings"], None, fields.get("proxy", {}))


_LONG_NAME = ".".join(letter * 60 for letter in "def")
_LONG = {
    "case": "bootstrap-over-16-kib-is-left-to-the-stream",
    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
    "cluster": [
        {
            "kind": "Namespace",
            "metadata": {
                "name": "shop",
                "labels": {
                    "livery.dev/inject": "enabled",
                    **{f"{_LONG_NAME}.example/label-{at:03}": "v" * 63 for at in range(80)},
                },
            },
        }
    ],
    "reason": "injected",
    "warnings": ["bootstrap-too-large"],
    "proxy": {"environment": {"LIVERY_NAMESPACE_LABELS": ""}},
}
"""A row that is too long for the table."""
TABLE = {
    row.pop("case"): Row(row)
    for row in [*yaml.safe_load((GOLDEN / "cases.yaml").read_text()), _LONG]
}
GOLDEN_CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
CASES = sorted([*GOLDEN_CASES, *TABLE])


def read_case(name: str) -> Case:
    """Return a case of either kind."""
    if name in TABLE:
        return TABLE[name].case()
    path = GOLDEN / name / "platform.yaml"
    platform = read_platform(path if path.exists() else None)
    cluster = ClusterState()
    *known, obj = _documents(name, "input.yaml")
    for item in known:
        cluster.put(item["kind"], item)
    namespaces = cluster.namespaces()
    own = obj["metadata"].get("namespace", namespaces[0].name if namespaces else "default")
    return Case(cluster, obj, own, platform)


def read_expected(name: str) -> Expected:
    """Return the expected outcome of a case."""
    if name in TABLE:
        return TABLE[name].expected()
    facts, obj = _documents(name, "expected.yaml")
    return Expected(facts["reason"], facts["warnings"], obj, {})


def write_expected(name: str, obj: Json, reason: str | None, warnings: list[str]) -> None:
    """Write the expected outcome of a golden case."""
    facts = yaml.safe_dump({"reason": reason, "warnings": warnings}, sort_keys=False)
    text = f"{facts}---\n{write_manifests([obj])}"
    (GOLDEN / name / "expected.yaml").write_text(text)


def describe_proxy(obj: Json) -> Json:
    """Describe an injected object's proxy and how it is scraped."""
    pod = find_pod(obj)
    assert pod is not None
    places = {
        f"{group}[{at}]": container
        for group in ("containers", "initContainers")
        for at, container in enumerate(pod["spec"].get(group) or ())
        if container["name"] == names.PROXY_CONTAINER
    }
    ((place, proxy),) = places.items()
    arguments = proxy["args"]
    annotations = pod["metadata"]["annotations"]
    return {
        "place": place,
        "arguments": [
            f"{flag} {value}" for flag, value in zip(arguments[::2], arguments[1::2], strict=True)
        ],
        "environment": {item["name"]: item.get("value") for item in proxy["env"]},
        "resources": proxy.get("resources"),
        "user": proxy["securityContext"].get("runAsUser"),
        "scrape": {key: text for key, text in annotations.items() if key.startswith("prom")},
    }


def differences(proxy: Json, usual: Json) -> Json:
    """Return how a proxy differs from the usual one; removed values are null."""
    found: Json = {}
    for key in ("place", "resources", "user"):
        if proxy[key] != usual[key]:
            found[key] = proxy[key]
    for key in ("environment", "scrape"):
        both = {**usual[key], **proxy[key]}
        if changed := {
            name: proxy[key].get(name)
            for name in both
            if proxy[key].get(name) != usual[key].get(name)
        }:
            found[key] = changed
    if proxy["arguments"] != usual["arguments"]:
        found["arguments"] = proxy["arguments"]
    return found


def make_pod(workload: Json) -> Json:
    """Make a pod from a workload's template as Kubernetes' controllers do."""
    pod = copy.deepcopy(find_pod(workload))
    assert pod is not None
    kind, name = workload["kind"], workload["metadata"]["name"]
    if kind == "Deployment":
        kind, name = "ReplicaSet", f"{name}-5d4f8"
        pod["metadata"].setdefault("labels", {})["pod-template-hash"] = "5d4f8"
    elif kind == "CronJob":
        kind, name = "Job", f"{name}-28391040"
    owner = {"apiVersion": "any/v1", "kind": kind, "name": name, "controller": True, "uid": "u"}
    pod["metadata"] |= {"generateName": f"{name}-", "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def _documents(name: str, file: str) -> list[Json]:
    text = (GOLDEN / name / file).read_text()
    return [document for document, _ in read_documents(text, f"{name}/{file}")]


def is_pod_or_workload(name: str) -> bool:
    """Return whether a case's object is a pod or has a pod template."""
    return find_pod(read_case(name).obj) is not None
