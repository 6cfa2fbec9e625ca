"""`livery explain query`: the query that the gateway sends for a tenant's query, and why."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from injector.commands.colours import BOLD, GREEN, RED, YELLOW, paint
from injector.commands.explain.access_objects import (
    add_access_arguments,
    describe_reading,
    read_tenants,
    write_reading,
)
from injector.commands.reports import add_output_argument, print_report
from injector.errors import SettingsError
from injector.model.access.verdicts import AccessVerdict, build_access, judge_namespace
from sidecar.errors import QueryError, QueryRefusedError
from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.ast import selectors
from sidecar.model.promql.branches import View, rules_for
from sidecar.model.promql.enforcement import enforce_query
from sidecar.model.promql.parser import parse_query
from sidecar.model.promql.printer import print_conditions
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain query -n shop 'sum(rate(http_requests_total[5m]))'
      with the MetricAccess objects of the cluster that KUBECONFIG names
  livery explain query -n shop -f metricaccess.yaml up
      with the objects of a file
  livery explain query -n shop -n bank up
      as two tenants at once

exit codes: 0 explained, 1 the query is refused or malformed, 2 wrong arguments
"""


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "query",
        help="the query that the gateway sends for a tenant's query",
        description="Show the query that the gateway sends to Prometheus for a tenant's query, "
        "and the access rules that decide it.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("query", metavar="QUERY", help="PromQL")
    add("-n", "--namespace", action="append", default=[], metavar="NAME",
        help="the tenant; may be given several times")  # fmt: skip
    add("--namespace-label", metavar="LABEL",
        help="label that holds a series' namespace in Prometheus (the installation's setting; "
        "with -f: namespace)")  # fmt: skip
    add_access_arguments(add)
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain one query."""
    tenants = list(dict.fromkeys(given.namespace))
    if not tenants:
        raise SettingsError("-n NAMESPACE (the tenant) is required")
    platform, cluster = read_tenants(given, tenants)
    rules: list[dict[str, Any]] = []
    described = []
    for tenant in tenants:
        found = build_access(cluster, tenant, platform)
        whose = f"{tenant}/" if len(tenants) > 1 else ""
        rules += [{**rule, "name": f"{whose}{rule['name']}"} for rule in found]
        described.append(_describe_tenant(tenant, judge_namespace(cluster, tenant, platform)))
    label = given.namespace_label or platform.gateway_namespace_label
    view = view_of(parse_access_rules(rules, "rules"), label)
    view = view._replace(refuses_unseen=platform.gateway_refuses_unseen)
    facts = {"tenants": described, "asked": given.query, **_enforce(given.query, view)}
    print_report(facts, _write(facts), given.output)
    return 0 if "sent" in facts else 1


def _describe_tenant(tenant: str, verdicts: Sequence[AccessVerdict]) -> dict[str, Any]:
    objects = [
        {"name": item.name, **describe_reading(item), "problems": list(item.problems)}
        for item in verdicts
    ]
    return {"namespace": tenant, "objects": objects}


def _enforce(query: str, view: View) -> dict[str, Any]:
    """Return what is sent, or why nothing is."""
    try:
        tree = parse_query(query)
        enforced = enforce_query(query, view)
    except QueryError as error:
        return {"malformed": str(error)}
    except QueryRefusedError as error:
        return {"refused": str(error)}
    found = dict.fromkeys(selector.conditions for selector in selectors(tree))
    listed = [
        {"selector": print_conditions(item), "rules": list(rules_for(item, view))} for item in found
    ]
    return {"selectors": listed, "sent": enforced.text}


def _write(facts: Mapping[str, Any]) -> Iterator[str]:
    for tenant in facts["tenants"]:
        yield from _write_tenant(tenant)
    if "malformed" in facts:
        yield f"{paint('not PromQL', RED)}: {facts['malformed']}"
    elif "refused" in facts:
        yield f"{paint('refused', RED)}: {facts['refused']}"
    else:
        for item in facts["selectors"]:
            names = ", ".join(item["rules"])
            by = (
                f"allowed by {names}" if names else paint("allowed by no rule: it is empty", YELLOW)
            )
            yield f"selector {item['selector']}  {by}"
        yield f"{paint('asked', GREEN)}    {facts['asked']}"
        yield f"{paint('sent', GREEN)}     {facts['sent']}"


def _write_tenant(tenant: Mapping[str, Any]) -> Iterator[str]:
    name = tenant["namespace"]
    yield paint(f"tenant {name}", BOLD)
    if not tenant["objects"]:
        yield f"  {paint('sees nothing', YELLOW)}: there is no MetricAccess object in {name}"
    for item in tenant["objects"]:
        if "shows" in item:
            yield f"  {item['name']}: {write_reading(item)}"
        for problem in item["problems"]:
            yield f"  {paint('not active', YELLOW)}: {item['name']}: {problem}"
