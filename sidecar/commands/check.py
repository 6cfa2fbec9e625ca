"""`livery-proxy check`: validates an exposition, a policy or a configuration, and prints it."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from sidecar.errors import ExpositionError, PolicyError
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import scan
from sidecar.model.exposition.samples import Sample
from sidecar.process.help_format import HelpFormatter

if TYPE_CHECKING:
    from sidecar.model.policy.gateway import GatewayPolicy
    from sidecar.model.policy.series import SeriesPolicy

EXAMPLES = """examples:
  curl -s localhost:8080/metrics | livery-proxy check exposition
  livery-proxy check exposition --format openmetrics < metrics.txt
  livery-proxy check policy policy.yaml
  livery-proxy check config config.yaml
      print the configuration of prometheus-multi-tenant-proxy as values of Livery's chart

exit codes: 0 valid, 1 invalid, 2 usage error
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0 if the input is valid, 1 if not, 2 for a usage error."""
    parser = argparse.ArgumentParser(
        prog="livery-proxy check",
        description="Check an exposition, a policy, or a prometheus-multi-tenant-proxy file.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    exposition = _add_kind(kinds, "exposition", "metrics on standard input")
    formats = [fmt.value for fmt in Format]
    exposition.add_argument("--format", choices=formats, default="text", help="(%(default)s)")
    policy = _add_kind(kinds, "policy", "a policy file")
    policy.add_argument("file", type=Path, help="YAML or JSON, as for --policy")
    policy.add_argument(
        "--role",
        choices=["pod", "node", "aggregate", "gateway"],
        default="",
        help="role of the policy (default: the first role that accepts it)",
    )
    config = _add_kind(kinds, "config", "the configuration of prometheus-multi-tenant-proxy")
    config.add_argument("file", type=Path, help="YAML or JSON")
    given = parser.parse_args(arguments)
    if given.kind == "config":
        from sidecar.commands.check_config import check_config

        return check_config(given.file, sys.stdout, sys.stderr)
    if given.kind == "policy":
        return check_policy(given.file, given.role, sys.stdout)
    try:
        return check_exposition(sys.stdin.buffer, Format(given.format), sys.stdout)
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe; nothing may be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _add_kind(kinds: Any, name: str, text: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=text,
        description=f"Check {text}.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    return added


def check_exposition(source: BinaryIO, fmt: Format, out: TextIO) -> int:
    """Print one JSON object per sample; for invalid input, line and reason on stderr."""
    line = 0
    try:
        for sample in scan(source.read(), fmt):
            line += sample.text.count(b"\n") + sample.tail.count(b"\n")
            if sample.head.series is not None:
                print(json.dumps(describe_sample(sample, fmt), ensure_ascii=False), file=out)
    except ExpositionError as error:
        placed = error if error.line else ExpositionError(line, error.reason)
        print(f"livery-proxy: {placed}", file=sys.stderr)
        return 1
    return 0


def describe_sample(sample: Sample, fmt: Format) -> dict[str, object]:
    """Return a sample as JSON: its value as text, its timestamp in milliseconds or None."""
    series = sample.head.series
    if series is None:
        raise ExpositionError(0, "a comment is not a sample")
    value, *rest = _fields(sample.tail)
    stamp = next(iter(rest), None)
    return {
        "name": series.name.decode(),
        "labels": {name.decode(): unescape(text).decode() for name, text in series.labels if text},
        "value": value,
        "timestamp_ms": None if stamp is None else _milliseconds(stamp, fmt),
    }


def check_policy(path: Path, role: str, out: TextIO) -> int:
    """Print what a policy file holds; without a role, for the first role that accepts it."""
    # Imported here: policies need RE2, expositions do not.
    from sidecar.control.policy_file import read_policy_file
    from sidecar.model.policy.aggregate import parse_aggregate_policy
    from sidecar.model.policy.gateway import parse_gateway_policy
    from sidecar.model.policy.node import parse_node_policy
    from sidecar.model.policy.pod import parse_pod_policy

    readers: dict[str, Callable[[object], dict[str, object]]] = {
        "pod": lambda document: _describe_series(parse_pod_policy(document).series),
        "node": lambda document: _describe_series(parse_node_policy(document).series),
        "aggregate": lambda document: _describe_series(
            parse_aggregate_policy(document).policy.series
        ),
        "gateway": lambda document: _describe_tenants(parse_gateway_policy(document).policy),
    }
    errors = []
    for name in [role] if role else list(readers):
        try:
            described = read_policy_file(path, readers[name])
        except PolicyError as error:
            errors.append(error)
            continue
        print(json.dumps({"role": name, **described}), file=out)
        return 0
    # A document that is not a policy at all gets the same error for every role.
    for text in dict.fromkeys(map(str, errors)):
        print(f"livery-proxy: {text}", file=sys.stderr)
    return 1


def _describe_series(policy: "SeriesPolicy") -> dict[str, object]:
    rules = policy.access_rules
    return {
        "labels": policy.labels,
        "protected": sorted(policy.protected),
        "metricRelabelings": len(policy.relabelings),
        "accessRules": None if rules is None else len(rules),
    }


def _describe_tenants(policy: "GatewayPolicy") -> dict[str, object]:
    return {"tenants": {name: len(rules) for name, rules in policy.tenants.items()}}


def _fields(tail: bytes) -> Iterator[str]:
    for field in tail.decode().split():
        if field == "#":
            return  # what follows is an exemplar
        yield field


def _milliseconds(stamp: str, fmt: Format) -> int:
    if fmt is Format.TEXT:
        return int(stamp)
    milliseconds = float(stamp) * 1000
    if abs(milliseconds) >= 2**63:
        raise ExpositionError(0, f"{stamp[:40]}: the timestamp is out of range")
    return int(milliseconds)
