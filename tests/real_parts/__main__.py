"""Build every real part that the tests run, once; `make test` does so before the tests."""

import sys

from tests.real_parts.go import RealPartMissing
from tests.real_parts.oracle import Oracle
from tests.real_parts.prometheus import prometheus_program, promtool_program


def main() -> int:
    try:
        prometheus_program()
        promtool_program()
        with Oracle():
            pass
    except RealPartMissing as missing:
        print(f"{missing}; tests that need it say so", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
