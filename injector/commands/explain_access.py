"""`livery explain access`: what MetricAccess objects show and send, and series as what."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from injector.commands.access_objects import add_access_arguments, read_tenants
from injector.commands.colours import BOLD, GREEN, RED, YELLOW, paint
from injector.errors import SettingsError
from injector.model.access.forwarding import NOT_ASKED, ForwardingPlan
from injector.model.access.metricaccess import MetricAccess
from injector.model.access.verdicts import AccessVerdict, judge_namespace
from injector.model.cluster.names import REMOTE_WRITE_HOSTS
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Collect
from sidecar.errors import QueryError
from sidecar.model.access.objects import rule_of
from sidecar.model.access.rules import parse_access_rule
from sidecar.model.fields import Fields
from sidecar.model.labels.relabel import relabel_steps
from sidecar.model.policy.forward import parse_forward_rule
from sidecar.model.promql.matchers import Condition
from sidecar.model.promql.parser import parse_series_selector
from sidecar.model.promql.printer import print_conditions

EXAMPLES = """examples:
  livery explain access -n shop
      the objects of the cluster that KUBECONFIG names: what they show, where they send it
  livery explain access -n shop to-own-prometheus --series 'http_requests_total{code="500"}'
      what becomes of a series, step by step
  livery explain access -f metricaccess.yaml --series up
      with the objects of a file

exit codes: 0 explained, 1 there is no such object or a malformed one, 2 a wrong call
"""


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "access",
        help="what MetricAccess objects show and send",
        description="Say what MetricAccess objects show, where they send it, and as what.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="of one object; all by default")
    add("-n", "--namespace", metavar="NAME", help="of the objects")
    add("--series", metavar="SERIES",
        help='a series as the application or Prometheus has it: name{label="value"}')  # fmt: skip
    add_access_arguments(add)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain the objects."""
    if not (given.namespace or given.filename):
        raise SettingsError("name the namespace with -n NAMESPACE, or files with -f")
    series = None if given.series is None else _read_series(given.series)
    platform, cluster = read_tenants(given, [given.namespace or "default"])
    namespaces = cluster.namespaces_with("MetricAccess")
    if given.namespace:
        namespaces = [name for name in namespaces if name == given.namespace]
    found = [
        (namespace, verdict)
        for namespace in namespaces
        for verdict in judge_namespace(cluster, namespace, platform)
        if given.name in (None, verdict.name)
    ]
    if not found:
        wanted = "" if given.name is None else f" {given.name}"
        print(f"there is no MetricAccess object{wanted} in {given.namespace or 'the files'}")
        return 1
    for namespace, verdict in found:
        for line in _explain(namespace, verdict, cluster):
            print(line)
        if series is not None:
            for line in _follow(namespace, verdict, series):
                print(line)
    return 1 if any(verdict.metric_access is None for _, verdict in found) else 0


def _read_series(text: str) -> dict[str, str]:
    try:
        conditions = parse_series_selector(text).conditions
    except QueryError as error:
        raise SettingsError(f"--series: {error}") from error
    if any(item.op != "=" for item in conditions):
        raise SettingsError('--series: labels are given as name="value"')
    return {item.name: item.value for item in conditions}


def _explain(namespace: str, verdict: AccessVerdict, cluster: ClusterState) -> Iterator[str]:
    yield paint(f"{namespace}/{verdict.name}", BOLD)
    access, grant = verdict.metric_access, verdict.grant
    if access is not None and grant is not None:
        patterns = ", ".join(fact.pattern for fact in access.patterns if fact.is_valid)
        labels = ", ".join(f"{key}={value}" for key, value in access.label_selectors.items())
        names = grant.namespaces
        where = "all namespaces" if names is None else ", ".join(sorted(names))
        yield f"  shows  {patterns or 'nothing'}{labels and f' with {labels}'} in {where}"
        yield from _of_sending(access, verdict.forwarding)
    for problem in verdict.problems:
        yield f"  {paint('not in force', YELLOW)}: {problem}"
    obj = dict(cluster.named("MetricAccess", namespace)).get(verdict.name, {})
    yield from _of_status(obj)


def _of_sending(access: MetricAccess, plan: ForwardingPlan) -> Iterator[str]:
    remote = access.remote_write
    if remote is None or plan == NOT_ASKED:
        yield "  sends  nothing"
        return
    who = "the proxies of its namespace" if plan.collect is Collect.PROXIES else "a collector"
    yield f"  sends  every {remote.interval_seconds:g} s, by {who}"
    if plan.receivers is not None:
        for address in plan.receivers.addresses:
            scheme = "https" if address.get("tls") is not None else "http"
            yield f"  to     {scheme}://{address['host']}:{address['port']}{address['path']}"
        for secret in plan.receivers.secrets:
            yield (
                f"  with   Secret {secret.name}, key {secret.key}, which must be annotated "
                f"{REMOTE_WRITE_HOSTS}={plan.receivers.origin}"
            )
    if plan.reason is not None:
        yield f"  {paint(plan.message, RED)}"


def _of_status(obj: Object) -> Iterator[str]:
    """Say what Livery wrote into the object, where it comes from a cluster."""
    status = obj.get("status") or {}
    for item in status.get("conditions") or ():
        if item.get("type") == "Ready":
            colour = GREEN if item.get("status") == "True" else YELLOW
            yield f"  {paint(item.get('reason', ''), colour)}: {item.get('message', '')}"
    facts = status.get("remoteWrite")
    if facts:
        yield (
            f"  now    {facts.get('series', 0)} series by {facts.get('senders', 0)} senders; "
            f"samples: {facts.get('samplesSent', 0)} sent, {facts.get('samplesFailed', 0)} "
            f"refused, {facts.get('samplesDropped', 0)} dropped, "
            f"{facts.get('samplesWaiting', 0)} wait; lag {facts.get('lagSeconds', 0)} s"
        )


def _follow(namespace: str, verdict: AccessVerdict, series: Mapping[str, str]) -> Iterator[str]:
    """Say what becomes of a series, step by step."""
    access, grant, sending = verdict.metric_access, verdict.grant, verdict.forwarding.sending
    rule = None if access is None or grant is None else rule_of(access, grant)
    if rule is None:
        yield f"  series {_write(series)}: {paint('nothing is in force', YELLOW)}"
        return
    seen = {"namespace": namespace, **series}
    sends = None if sending is None else parse_forward_rule(Fields(sending, verdict.name)).sending
    parsed = parse_access_rule(rule, verdict.name) if sends is None else sends.access
    pattern = parsed.pattern_of(seen)
    yield f"  series {_write(seen)}"
    if pattern is None:
        yield f"  {paint('not chosen', YELLOW)}: no pattern matches, or a labelSelector does not"
        return
    yield f"  chosen by {pattern.text}"
    labels: Mapping[str, str] = seen
    for index, step in enumerate(relabel_steps(seen, parsed.relabelings)):
        if step.after is None:
            yield f"  {paint('dropped', YELLOW)} by metricRelabelings[{index}] ({step.rule.action})"
            return
        labels = step.after
        unchanged = " (unchanged)" if step.after == step.before else ""
        yield f"  metricRelabelings[{index}] ({step.rule.action}): {_write(labels)}{unchanged}"
    if sends is not None:
        sent = sends.name_of(seen)
        yield f"  {paint('sent as', GREEN)} {_write(sent)}" if sent else "  left without a name"


def _write(labels: Mapping[str, str]) -> str:
    name = labels.get("__name__", "")
    conditions = [Condition(key, "=", value) for key, value in sorted(labels.items())]
    conditions.sort(key=lambda item: item.name != "__name__")
    return print_conditions(tuple(conditions)) if name else "{}"
