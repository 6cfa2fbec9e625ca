"""`livery completion`: completion of the command line for a shell."""

import argparse
from typing import Any

import shtab

EXAMPLES = """examples:
  source <(livery completion bash)
      in this shell; in ~/.bashrc for all
  livery completion zsh > "${fpath[1]}/_livery"
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "completion",
        help="print a script with which a shell completes this command line",
        description="Print a script with which a shell completes the commands and options of "
        "livery.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the script."""
    print(shtab.complete(given.root, shell=given.shell))
    return 0
