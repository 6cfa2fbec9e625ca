"""`python -m bench [NAME ...]`: measure all claims, or the named ones, and print the table."""

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
    "label_edit",
    "streams",
    "page",
    "cluster",
)


def main() -> int:
    rows: list[Row] = []
    for name in sys.argv[1:] or CLAIMS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"bench.{name}").measure()
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {machine}\n\n{render(rows)}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
