"""`livery explain series`: which step gives a series which label, or drops it."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from injector.commands.colours import BOLD, GREEN, YELLOW, paint
from injector.commands.explain.access_objects import add_access_arguments, read_tenants
from injector.commands.explain.series_text import read_series, write_series
from injector.commands.reports import add_output_argument, print_report
from injector.errors import SettingsError
from injector.model.cluster.names import FILTER, JOB, NAMESPACE_LABEL
from injector.model.cluster.objects import Object, annotations_of
from injector.model.cluster.state import ClusterState
from injector.model.policies.pod import build_pod_policy
from injector.model.policies.scope import Scope
from injector.model.policies.series import SeriesStep, StepKind, follow_series
from sidecar.errors import ExpositionError
from sidecar.model.access.rules import Identity
from sidecar.model.labels.namespace_labels import LabelRules, explain_labels
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain series 'http_requests_total{code="200"}' -n shop
      with the rules of the cluster that KUBECONFIG names, for a pod without annotations
  livery explain series 'http_requests_total{code="200"}' -n shop --pod web-0
      as this pod exposes it: its annotations decide whether access rules filter
  livery explain series up -f namespace-and-access.yaml -n shop --filter
      with the Namespace and MetricAccess objects of files

exit codes: 0 explained, 1 the series is dropped, 2 wrong arguments
"""


_HEADINGS = {
    StepKind.LABELLED: "labels of the namespace are added",
    StepKind.RELABELLED: "relabelled",
    StepKind.FILTERED: "allowed",
}


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "series",
        help="which step gives a series which label, or drops it",
        description="Follow a series of an application through its proxy, step by step.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("series", metavar="SERIES", help='series that the application exposes: name{label="value"}')
    add("-n", "--namespace", metavar="NAME", required=True, help="the pod's namespace")
    add("--pod", metavar="NAME", help="a pod of the cluster, whose filter and job apply")
    add("--filter", action="store_true",
        help=f"treat the pod as annotated with {FILTER}: metricaccess")  # fmt: skip
    add_access_arguments(add)
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain one series."""
    series = read_series(given.series, "SERIES")
    if not series.get("__name__"):
        raise SettingsError("SERIES: must have a metric name")
    if given.pod is not None and given.filename:
        raise SettingsError("--pod names a pod of the cluster; leave out -f, or use --filter")
    platform, cluster = read_tenants(given, [given.namespace])
    if cluster.namespace(given.namespace) is None:
        where = "files" if given.filename else "cluster"
        raise SettingsError(f"there is no namespace {given.namespace} in the {where}")
    annotations = annotations_of(_read_pod(given)) if given.pod is not None else {}
    if NAMESPACE_LABEL in annotations:
        raise SettingsError(
            f"pod {given.pod} has {NAMESPACE_LABEL}: its series get the labels of the namespace "
            "that each names; explain that namespace"
        )
    filters = given.filter or annotations.get(FILTER) == "metricaccess"
    identity = Identity(given.namespace, given.pod or "", job=annotations.get(JOB, ""))
    document = build_pod_policy(cluster, Scope("pod", given.namespace), platform)
    policy = parse_pod_policy(document, DocumentReader(Origin.STREAM)).series
    sources = _find_sources(cluster, given.namespace, platform.labels)
    kept = [
        {"label": name, "value": series[name], "namespaceValue": policy.labels[name]}
        for name in sorted(sources)
        if name in series and name not in policy.protected and series[name] != policy.labels[name]
    ]
    steps: list[dict[str, Any]] = []
    failure = ""
    try:
        followed = follow_series(series, policy, identity, filters=filters)
        steps.extend(_describe(step, sources) for step in followed)
    except ExpositionError as error:
        failure = str(error)
    exposed = None if failure else steps[-1]["series"]
    facts = {
        "namespace": given.namespace,
        "steps": steps,
        "kept": kept,
        "exposed": exposed,
        "failure": failure,
    }
    print_report(facts, _write(facts), given.output)
    return 0 if exposed is not None else 1


def _read_pod(given: argparse.Namespace) -> Object:
    # Imported only here: commands on files do not pay for the client.
    from injector.kube.api.client import connect
    from injector.kube.objects.installed import read_pod

    pod = read_pod(connect(), given.namespace, given.pod)
    if pod is None:
        raise SettingsError(f"there is no pod {given.pod} in namespace {given.namespace}")
    return pod


def _find_sources(cluster: ClusterState, namespace: str, rules: LabelRules) -> Mapping[str, str]:
    """Return the namespace's label keys by the names that they have on series."""
    known = cluster.namespace(namespace)
    labels = {} if known is None else known.labels
    return {item.name: item.key for item in explain_labels(labels, rules) if item.name}


def _describe(step: SeriesStep, sources: Mapping[str, str]) -> dict[str, Any]:
    changes = []
    for change in step.changes:
        facts = {"label": change.name, "before": change.before, "after": change.after}
        if step.kind is StepKind.LABELLED and change.after is not None and change.name in sources:
            facts["fromNamespaceLabel"] = sources[change.name]
        changes.append(facts)
    return {
        "step": str(step.kind),
        "sentence": step.kind.sentence,
        "rule": step.detail,
        "series": None if step.labels is None else write_series(step.labels),
        "changes": changes,
    }


def _write(facts: Mapping[str, Any]) -> Iterator[str]:
    for step in facts["steps"]:
        by = f" by {step['rule']}" if step["rule"] else ""
        if step["series"] is None:
            yield f"{paint('dropped', YELLOW)}{by or f': {_why_dropped(step)}'}"
        elif step["step"] == StepKind.EXPOSED:
            yield paint(step["series"], BOLD)
        else:
            heading = _HEADINGS[step["step"]]
            yield f"{heading}{by}{':' if step['changes'] else ': unchanged'}"
            yield from (f"    {_write_change(change)}" for change in step["changes"])
        if step["step"] == StepKind.LABELLED and step["series"] is not None:
            yield from map(_write_kept, facts["kept"])
    if facts["failure"]:
        yield f"{paint('the scrape fails', YELLOW)}: {facts['failure']}"
    elif facts["exposed"] is not None:
        yield f"{paint('exposed as', GREEN)} {facts['exposed']}"


def _write_kept(kept: Mapping[str, Any]) -> str:
    name, value, namespaced = kept["label"], kept["value"], kept["namespaceValue"]
    return (
        f'    = {name}="{value}" stays: the application set it; labels.protected={{{name}}} would '
        f'replace it with "{namespaced}"'
    )


def _write_change(change: Mapping[str, Any]) -> str:
    name, before, after = change["label"], change["before"], change["after"]
    key = change.get("fromNamespaceLabel")
    source = f"  from the namespace's label {key}" if key else ""
    if after is None:
        return f'- {name}="{before}"'
    if before is None:
        return f'+ {name}="{after}"{source}'
    return f'~ {name}="{after}"  was "{before}"{source}'


def _why_dropped(step: Mapping[str, Any]) -> str:
    if step["step"] == StepKind.FILTERED:
        return "no MetricAccess object of the namespace allows it"
    return "names that begin with livery_ are Livery's own"
