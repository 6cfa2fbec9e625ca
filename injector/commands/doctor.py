"""`livery doctor`: what is wrong with an installation, and what mends it."""

import argparse
from typing import Any

from injector.commands.colours import GREEN, RED, paint
from injector.commands.inputs import parse_platform_text

EXAMPLES = """examples:
  livery doctor                                 look at the cluster that KUBECONFIG names
  livery doctor --namespace metrics --release livery

exit codes: 0 no problem found, 1 problems found, 2 wrong arguments or no cluster
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="say what is wrong with an installation, and the command that mends it",
        description="Look at the API server, the CRD, the injector, its CA and webhook, node "
        "proxies, and at the pods, quotas, NetworkPolicies and monitors of every labelled "
        "namespace. Uses your own rights and changes nothing: a pod is asked for as a dry run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-n", "--namespace", default="livery-system", help="Livery's (%(default)s)")
    parser.add_argument("--release", default="livery", help="Helm's name for it (%(default)s)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Look, and say."""
    from injector.kube.api.client import connect
    from injector.kube.doctor.examine import examine
    from injector.kube.doctor.findings import Installation

    installation = Installation(given.namespace, given.release, parse_platform_text)
    problems = 0
    for finding in examine(connect(), installation):
        mark = paint("ok", GREEN) if finding.is_well else paint("!!", RED)
        print(f"{mark}  {finding.sentence}", flush=True)
        if finding.remedy:
            print(f"      {finding.remedy}")
        problems += not finding.is_well
    said = "1 problem" if problems == 1 else f"{problems} problems"
    print(f"\n{said}" if problems else "\nAll is well.")
    return 1 if problems else 0
