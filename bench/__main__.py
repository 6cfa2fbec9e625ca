"""`python -m bench [NAME ...]`: measure all claims, or the named ones, and print the table."""

import argparse
import importlib
import platform
import sys
from datetime import UTC, datetime

from bench.table import Row, render

CLAIMS = (
    "line_cost",
    "pod_cpu",
    "pod_memory",
    "admission",
    "admission_load",
    "admission_attacked",
    "node",
    "aggregate",
    "gateway",
    "forwarding",
    "label_edit",
    "streams",
    "page",
    "cluster",
)
_NAMES = f"claims to measure, all by default: {', '.join(CLAIMS)}"


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m bench", description="Measure claims and print the table."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=_NAMES)
    names = parser.parse_args().names or CLAIMS
    for name in set(names) - set(CLAIMS):
        parser.error(f"{name!r} is not one of {', '.join(CLAIMS)}")
    rows: list[Row] = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"bench.{name}").measure()
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {machine}\n\n{render(rows)}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
