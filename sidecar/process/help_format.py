"""The layout of `--help`."""

import argparse


class HelpFormatter(argparse.HelpFormatter):
    """Wraps a description to the terminal, and keeps the line breaks of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(f"{indent}{line}\n" for line in text.splitlines())
        return super()._fill_text(text, width, indent)
