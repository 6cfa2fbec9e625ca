"""`livery explain query`: what the gateway asks in place of a tenant's query, and why."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from injector.commands.access_objects import add_access_arguments, read_tenants
from injector.commands.colours import BOLD, GREEN, RED, YELLOW, paint
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

EXAMPLES = """examples:
  livery explain query -n shop 'sum(rate(http_requests_total[5m]))'
      with the MetricAccess objects of the cluster that KUBECONFIG names
  livery explain query -n shop -f metricaccess.yaml up
      with those of a file
  livery explain query -n shop -n bank up
      as two tenants at once

exit codes: 0 explained, 1 refused or not to be read, 2 a wrong call
"""


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "query",
        help="what the gateway asks in place of a tenant's query",
        description="Say what the gateway asks in place of a tenant's query, and by which rules.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("query", metavar="QUERY", help="PromQL")
    add("-n", "--namespace", action="append", default=[], metavar="NAME",
        help="the tenant; may be given several times")  # fmt: skip
    add("--namespace-label", metavar="LABEL",
        help="names a series' namespace in Prometheus (the installation's; with -f namespace)",
        )  # fmt: skip
    add_access_arguments(add)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain one query."""
    tenants = list(dict.fromkeys(given.namespace))
    if not tenants:
        raise SettingsError("name the tenant with -n NAMESPACE")
    platform, cluster = read_tenants(given, tenants)
    rules: list[dict[str, Any]] = []
    for tenant in tenants:
        found = build_access(cluster, tenant, platform)
        whose = f"{tenant}/" if len(tenants) > 1 else ""
        rules += [{**rule, "name": f"{whose}{rule['name']}"} for rule in found]
        for line in _of_tenant(tenant, judge_namespace(cluster, tenant, platform)):
            print(line)
    label = given.namespace_label or platform.gateway_namespace_label
    view = view_of(parse_access_rules(rules, "rules"), label)
    view = view._replace(refuses_unseen=platform.gateway_refuses_unseen)
    return _explain(given.query, view)


def _of_tenant(tenant: str, verdicts: Sequence[AccessVerdict]) -> Iterator[str]:
    yield paint(f"tenant {tenant}", BOLD)
    if not verdicts:
        yield f"  {paint('sees nothing', YELLOW)}: there is no MetricAccess object in {tenant}"
    for verdict in verdicts:
        access, grant = verdict.metric_access, verdict.grant
        if access is not None and grant is not None:
            patterns = ", ".join(fact.pattern for fact in access.patterns if fact.is_valid)
            where = "all namespaces" if grant.namespaces is None else ", ".join(
                sorted(grant.namespaces)
            )  # fmt: skip
            labels = ", ".join(f"{key}={value}" for key, value in access.label_selectors.items())
            with_labels = f" with {labels}" if labels else ""
            yield f"  {verdict.name}: {patterns or 'nothing'}{with_labels} in {where}"
        for problem in verdict.problems:
            yield f"  {paint('not in force', YELLOW)}: {verdict.name}: {problem}"


def _explain(query: str, view: View) -> int:
    try:
        tree = parse_query(query)
        enforced = enforce_query(query, view)
    except QueryError as error:
        print(f"{paint('not PromQL', RED)}: {error}")
        return 1
    except QueryRefusedError as error:
        print(f"{paint('refused', RED)}: {error}")
        return 1
    for selector in dict.fromkeys(selector.conditions for selector in selectors(tree)):
        names = rules_for(selector, view)
        by = f"by {', '.join(names)}" if names else paint("by no rule: it selects nothing", YELLOW)
        print(f"selector {print_conditions(selector)}  {by}")
    print(f"{paint('asked', GREEN)}    {query}")
    print(f"{paint('sent', GREEN)}     {enforced.text}")
    return 0
