"""A command-line parser that suggests the closest name for an unknown one."""

import argparse
import re
from difflib import get_close_matches
from typing import Any, NoReturn

_CHOICE = re.compile(r"invalid choice: '([^']*)'")
_UNKNOWN = re.compile(r"unrecognized arguments: (-\S+)")


class SuggestingParser(argparse.ArgumentParser):
    """Ends a wrong call with one sentence, and the name that was probably meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over with the help of the command that was called."""
        parsed, left = super().parse_known_args(args, namespace)
        if left and not any(isinstance(item, argparse._SubParsersAction) for item in self._actions):
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return parsed, left

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"livery: {message}{self._suggest(message)} See {self.prog} --help\n")

    def _suggest(self, message: str) -> str:
        choice, unknown = _CHOICE.search(message), _UNKNOWN.search(message)
        if choice is not None:
            meant = get_close_matches(choice[1], _choices(self), 1)
        elif unknown is not None:
            meant = get_close_matches(unknown[1].partition("=")[0], _options(self), 1)
        else:
            meant = []
        return f"; did you mean {meant[0]}?" if meant else "."


def _choices(parser: argparse.ArgumentParser) -> list[str]:
    return [str(choice) for action in parser._actions for choice in action.choices or ()]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]
