"""`livery explain`: why something is as it is, in the cluster or in files."""

from typing import Any

from injector.commands.explain import access, namespace, pod, query, series
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain pod web-0 -n shop
      a pod of the cluster that KUBECONFIG names: its proxy, or why it has none
  livery explain namespace shop
      which of its labels are on its series, and which of its pods have a proxy
  livery explain series 'http_requests_total{code="200"}' -n shop
      which step gives a series which label, or drops it
  livery explain query -n shop 'sum(rate(http_requests_total[5m]))'
      the query that the gateway sends to Prometheus for a tenant
  livery explain access -n shop
      what MetricAccess objects show, and where they send it

livery explain KIND --help shows more of each; -o json and -o yaml are for programs.
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="explain a pod, namespace, series, query or access rule",
        description="Explain why something is as it is.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    kinds = parser.add_subparsers(dest="what", required=True, metavar="KIND")
    for kind in (pod, namespace, series, query, access):
        kind.add_parser(kinds)
