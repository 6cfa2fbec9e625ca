"""`livery explain access`: what MetricAccess objects show, and what they send where."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from injector.commands.colours import BOLD, GREEN, RED, YELLOW, paint
from injector.commands.explain.access_objects import (
    add_access_arguments,
    describe_reading,
    read_tenants,
    write_reading,
)
from injector.commands.explain.series_text import read_series, write_series
from injector.commands.reports import add_output_argument, print_report
from injector.errors import SettingsError
from injector.model.access.forwarding import NOT_ASKED, ForwardingPlan
from injector.model.access.metricaccess import MetricAccess
from injector.model.access.verdicts import AccessVerdict, judge_namespace
from injector.model.cluster.names import REMOTE_WRITE_HOSTS
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Collect
from sidecar.model.access.objects import rule_of
from sidecar.model.access.rules import parse_access_rule
from sidecar.model.fields import Fields
from sidecar.model.labels.relabel import relabel_steps
from sidecar.model.policy.forward import parse_forward_rule
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain access -n shop
      the objects of the cluster that KUBECONFIG names: what they show, where they send it
  livery explain access -n shop to-own-prometheus --series 'http_requests_total{code="500"}'
      how a series is processed, step by step
  livery explain access -f metricaccess.yaml --series up
      with the objects of a file

exit codes: 0 explained, 1 there is no such object or a malformed one, 2 wrong arguments
"""


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "access",
        help="what MetricAccess objects show and send",
        description="Explain what MetricAccess objects show, and what they send where.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="one object; all by default")
    add("-n", "--namespace", metavar="NAME", help="the objects' namespace")
    add("--series", metavar="SERIES",
        help='a series as the application or Prometheus has it: name{label="value"}')  # fmt: skip
    add_access_arguments(add)
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain the objects."""
    if not (given.namespace or given.filename):
        raise SettingsError("-n NAMESPACE or -f FILE is required")
    series = None if given.series is None else read_series(given.series, "--series")
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
        where = given.namespace or "the files"
        print(f"livery: there is no MetricAccess object{wanted} in {where}", file=sys.stderr)
        return 1
    objects = []
    for namespace, verdict in found:
        facts = _describe(namespace, verdict, cluster)
        if series is not None:
            facts["series"] = _follow(namespace, verdict, series)
        objects.append(facts)
    lines = (line for facts in objects for line in _write(facts))
    print_report({"objects": objects}, lines, given.output)
    return 1 if any(verdict.metric_access is None for _, verdict in found) else 0


def _describe(namespace: str, verdict: AccessVerdict, cluster: ClusterState) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "namespace": namespace,
        "name": verdict.name,
        **describe_reading(verdict),
    }
    access = verdict.metric_access
    if access is not None and verdict.grant is not None:
        facts["sends"] = _describe_sending(access, verdict.forwarding)
    facts["problems"] = list(verdict.problems)
    obj = dict(cluster.named("MetricAccess", namespace)).get(verdict.name, {})
    if obj.get("status"):
        facts["status"] = obj["status"]
    return facts


def _describe_sending(access: MetricAccess, plan: ForwardingPlan) -> dict[str, Any] | None:
    remote = access.remote_write
    if remote is None or plan == NOT_ASKED:
        return None
    facts: dict[str, Any] = {
        "intervalSeconds": remote.interval_seconds,
        "by": "proxies" if plan.collect is Collect.PROXIES else "collector",
    }
    if plan.receivers is not None:
        facts["to"] = [_write_address(address) for address in plan.receivers.addresses]
        facts["secrets"] = [
            {"name": item.name, "key": item.key, "hosts": str(plan.receivers.origin)}
            for item in plan.receivers.secrets
        ]
    if plan.reason is not None:
        facts["problem"] = plan.message
    return facts


def _write_address(address: Mapping[str, Any]) -> str:
    scheme = "https" if address.get("tls") is not None else "http"
    return f"{scheme}://{address['host']}:{address['port']}{address['path']}"


def _write(facts: Mapping[str, Any]) -> Iterator[str]:
    yield paint(f"{facts['namespace']}/{facts['name']}", BOLD)
    if "shows" in facts:
        yield f"  shows  {write_reading(facts)}"
        yield from _write_sending(facts["sends"])
    for problem in facts["problems"]:
        yield f"  {paint('not active', YELLOW)}: {problem}"
    yield from _write_status(facts.get("status") or {})
    if "series" in facts:
        yield from _write_followed(facts["series"])


def _write_sending(facts: Mapping[str, Any] | None) -> Iterator[str]:
    if facts is None:
        yield "  sends  nothing"
        return
    who = "the proxies of its namespace" if facts["by"] == "proxies" else "a collector"
    yield f"  sends  every {facts['intervalSeconds']:g} s, by {who}"
    yield from (f"  to     {address}" for address in facts.get("to", ()))
    for secret in facts.get("secrets", ()):
        yield (
            f"  with   Secret {secret['name']}, key {secret['key']}, which must be annotated "
            f"{REMOTE_WRITE_HOSTS}={secret['hosts']}"
        )
    if "problem" in facts:
        yield f"  {paint(facts['problem'], RED)}"


def _write_status(status: Mapping[str, Any]) -> Iterator[str]:
    """Write the status that Livery reported in the object, if it comes from a cluster."""
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
            f"{facts.get('samplesWaiting', 0)} waiting; lag {facts.get('lagSeconds', 0)} s"
        )


def _follow(namespace: str, verdict: AccessVerdict, series: Mapping[str, str]) -> dict[str, Any]:
    """Describe the steps that a series goes through."""
    access, grant, sending = verdict.metric_access, verdict.grant, verdict.forwarding.sending
    rule = None if access is None or grant is None else rule_of(access, grant)
    if rule is None:
        return {"series": write_series(series), "isActive": False}
    seen = {"namespace": namespace, **series}
    sends = None if sending is None else parse_forward_rule(Fields(sending, verdict.name)).sending
    parsed = parse_access_rule(rule, verdict.name) if sends is None else sends.access
    pattern = parsed.pattern_of(seen)
    facts: dict[str, Any] = {
        "series": write_series(seen),
        "isActive": True,
        "pattern": None if pattern is None else pattern.text,
        "steps": [],
    }
    if pattern is None:
        return facts
    labels: Mapping[str, str] | None = seen
    for index, step in enumerate(relabel_steps(seen, parsed.relabelings)):
        labels = step.after
        facts["steps"].append({
            "rule": f"metricRelabelings[{index}] ({step.rule.action})",
            "series": None if labels is None else write_series(labels),
            "isChanged": step.after != step.before,
        })  # fmt: skip
    if labels is not None and sends is not None:
        sent = sends.name_of(seen)
        facts["sentAs"] = write_series(sent) if sent else None
    return facts


def _write_followed(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["isActive"]:
        yield f"  series {facts['series']}: {paint('nothing is active', YELLOW)}"
        return
    yield f"  series {facts['series']}"
    if facts["pattern"] is None:
        yield f"  {paint('not selected', YELLOW)}: no pattern matches, or a labelSelector does not"
        return
    yield f"  selected by {facts['pattern']}"
    for step in facts["steps"]:
        if step["series"] is None:
            yield f"  {paint('dropped', YELLOW)} by {step['rule']}"
        else:
            unchanged = "" if step["isChanged"] else " (unchanged)"
            yield f"  {step['rule']}: {step['series']}{unchanged}"
    if "sentAs" in facts:
        sent = facts["sentAs"]
        yield f"  {paint('sent as', GREEN)} {sent}" if sent else "  not sent: no metric name left"
