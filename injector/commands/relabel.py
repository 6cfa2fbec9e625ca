"""`livery relabel`: try relabel rules on label sets."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, TextIO

from injector.commands.sources import read_sources
from injector.errors import SettingsError
from injector.files.rules import read_rules
from sidecar.model.labels.relabel import Rule, relabel, relabel_steps
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  echo '{"__name__": "up", "job": "web"}' | livery relabel -f rules.yaml
  livery relabel -f rules.yaml --steps < label-sets.jsonl

Each line of standard input is a label set as JSON; each line of output is the result, null if the
label set is dropped. The file is a list of Prometheus relabel rules, or a mapping with such a
list under metric_relabel_configs, relabel_configs or metricRelabelings.

exit codes: 0 done, 1 a line of input is not a label set, 2 a wrong rule or wrong arguments
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "relabel",
        help="try relabel rules on label sets",
        description="Apply relabel rules, with the semantics of Prometheus 3, to label sets.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "-f", "--filename", required=True, metavar="FILE", help="the rules: a file, or a URL"
    )
    parser.add_argument("--steps", action="store_true", help="show each rule's before and after")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Relabel every line of standard input."""
    (first, *others) = read_sources(given.filename)
    if others:
        raise SettingsError(f"{given.filename}: one file of rules is needed, not {len(others) + 1}")
    rules = read_rules(first[1], first[0])
    return relabel_lines(rules, sys.stdin.buffer, sys.stdout, steps=given.steps)


def relabel_lines(rules: Sequence[Rule], source: BinaryIO, out: TextIO, *, steps: bool) -> int:
    """Print the result of each label set; return 1 if a line is not a label set."""
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            labels = _parse_labels(line)
        except ValueError as error:
            print(f"livery: line {number}: {error}", file=sys.stderr)
            return 1
        if steps:
            for index, step in enumerate(relabel_steps(labels, rules)):
                shown = {"rule": index, "action": step.rule.action, "before": step.before}
                print(json.dumps({**shown, "after": step.after}, ensure_ascii=False), file=out)
        result = relabel(labels, rules)
        print(json.dumps(result, ensure_ascii=False), file=out, flush=True)
    return 0


def _parse_labels(line: bytes) -> dict[str, str]:
    try:
        value = json.loads(line.decode())
        json.dumps(value, ensure_ascii=False).encode()  # fails on a lone surrogate
    except (ValueError, RecursionError):
        value = None
    is_labels = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if not is_labels:
        raise ValueError("not a JSON object whose values are strings")
    labels: dict[str, str] = value
    return labels
