"""`livery completion`: shell completion of the command line."""

import argparse
from typing import Any

import shtab

from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  source <(livery completion bash)
      in this shell; in ~/.bashrc for all
  livery completion zsh > "${fpath[1]}/_livery"
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "completion",
        help="print a shell completion script",
        description="Print a shell script that completes the commands and options of livery "
        "on the command line.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the script."""
    print(shtab.complete(given.root, shell=given.shell))
    return 0
