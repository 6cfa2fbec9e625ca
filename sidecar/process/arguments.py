"""Parts shared by the roles' command lines and environments."""

import argparse
from typing import NoReturn

from sidecar import VERSION
from sidecar.errors import SettingsError
from sidecar.process.help_format import HelpFormatter


class Parser(argparse.ArgumentParser):
    """Parses a command line; an invalid one raises SettingsError and never exits."""

    @classmethod
    def of_role(cls, role: str, *, prog: str, description: str, examples: str) -> "Parser":
        """Create a parser with the arguments that all roles share."""
        parser = cls(
            prog=prog,
            description=description,
            epilog=examples,
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument("--version", action="version", version=f"livery-proxy {VERSION}")
        parser.add_argument("--role", choices=[role], required=True, help="role of this proxy")
        return parser

    def error(self, message: str) -> NoReturn:
        """Raise an error for an invalid command line.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(message)


def read_port(text: str) -> int | None:
    """Return a port, where 0 lets the system choose one; None if the text is not a port."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    return None
