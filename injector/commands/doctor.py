"""`livery doctor`: diagnoses an installation and prints the fix."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from injector.commands.colours import GREEN, RED, paint
from injector.commands.inputs import parse_platform_text
from injector.commands.reports import add_output_argument, print_line, print_report
from sidecar.process.help_format import HelpFormatter

if TYPE_CHECKING:
    from injector.kube.doctor.findings import Finding

EXAMPLES = """examples:
  livery doctor                                 check the cluster that KUBECONFIG names
  livery doctor --namespace metrics --release livery
  livery doctor -o json | jq '.findings[] | select(.ok | not)'

exit codes: 0 no problem found, 1 problems found, 2 wrong arguments or no cluster
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="diagnose an installation, and print the fix",
        description="Check the API server, the CRD, the injector, its CA and webhook, node "
        "proxies, and the pods, quotas, NetworkPolicies and monitors of every labelled "
        "namespace. Uses your own permissions and changes nothing: pods are created as dry runs.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "-n", "--namespace", default="livery-system", help="Livery's namespace (%(default)s)"
    )
    parser.add_argument("--release", default="livery", help="Helm release (%(default)s)")
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run all checks and print the findings."""
    from injector.kube.api.client import connect
    from injector.kube.doctor.examine import examine
    from injector.kube.doctor.findings import Installation

    installation = Installation(given.namespace, given.release, parse_platform_text)
    findings = examine(connect(), installation)
    if given.output == "text":
        problems = _print_text(findings)
    else:
        problems = _print_document(findings, given.output)
    return 1 if problems else 0


def _print_text(findings: "Iterable[Finding]") -> int:
    """Print each finding as soon as it is known; returns the number of problems."""
    problems = 0
    for finding in findings:
        mark = paint("ok", GREEN) if finding.is_well else paint("!!", RED)
        print_line(f"{mark}  {finding.sentence}")
        if finding.remedy:
            for line in finding.remedy.splitlines():
                print_line(f"      {line}")
        problems += not finding.is_well
    said = "1 problem" if problems == 1 else f"{problems} problems"
    print(f"\n{said}" if problems else "\nNo problem found.")
    return problems


def _print_document(findings: "Iterable[Finding]", output: str) -> int:
    """Print all findings as one document; returns the number of problems."""
    found = list(findings)
    problems = sum(not finding.is_well for finding in found)
    listed = [
        {"ok": item.is_well, "finding": item.sentence, "remedy": item.remedy} for item in found
    ]
    print_report({"problems": problems, "findings": listed}, (), output)
    return problems
