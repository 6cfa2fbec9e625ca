"""What the roles' command lines and environments have in common."""

import argparse
from typing import NoReturn

from sidecar import VERSION
from sidecar.errors import SettingsError


class Parser(argparse.ArgumentParser):
    """Reads a command line; what is wrong is an error of ours, never an exit."""

    @classmethod
    def of_role(cls, role: str, *, prog: str, description: str, examples: str) -> "Parser":
        """Make what the command lines of all roles begin with."""
        parser = cls(
            prog=prog,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument("--version", action="version", version=f"livery-proxy {VERSION}")
        parser.add_argument("--role", choices=[role], required=True, help="what this proxy does")
        return parser

    def error(self, message: str) -> NoReturn:
        """Say what is wrong.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(message)


def read_port(text: str) -> int | None:
    """Return a port, 0 for one that the system chooses; None if the text is not a port."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    return None
