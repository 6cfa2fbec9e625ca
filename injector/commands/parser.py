"""A command-line parser that proposes the nearest name for one that does not exist."""

import argparse
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NoReturn

_CHOICE = re.compile(r"invalid choice: '([^']*)'")
_UNKNOWN = re.compile(r"unrecognized arguments: (-\S+)")


class SuggestingParser(argparse.ArgumentParser):
    """Ends a wrong call with one sentence, and the name that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"livery: {message}{self._suggest(message)}; see {self.prog} --help\n")

    def _suggest(self, message: str) -> str:
        choice, unknown = _CHOICE.search(message), _UNKNOWN.search(message)
        if choice is not None:
            meant = get_close_matches(choice[1], _choices(self), 1)
        elif unknown is not None:
            meant = get_close_matches(unknown[1].partition("=")[0], _options(self), 1)
        else:
            meant = []
        return f"; did you mean {meant[0]}?" if meant else ""


def _choices(parser: argparse.ArgumentParser) -> list[str]:
    return [str(choice) for action in parser._actions for choice in action.choices or ()]


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a parser and of the commands within it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _options(command)
