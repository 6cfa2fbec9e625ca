"""Build every real part that the tests run, once; `make test` does so before the tests."""

import sys

from tests.real_parts.go import RealPartMissing
from tests.real_parts.kubernetes import etcd_program, helm_program, kube_apiserver_program
from tests.real_parts.oracle import Oracle
from tests.real_parts.prometheus import prometheus_program, promtool_program


def main() -> int:
    if sys.argv[1:] == ["--path", "helm"]:  # for the Makefile, if there is no helm on PATH
        print(helm_program())
        return 0
    for part in _PARTS:
        try:
            part()
        except RealPartMissing as missing:
            print(f"{missing}; tests that need it say so", file=sys.stderr)
    return 0


def _oracle() -> None:
    with Oracle():
        pass


_PARTS = (
    prometheus_program,
    promtool_program,
    etcd_program,
    kube_apiserver_program,
    helm_program,
    _oracle,
)


if __name__ == "__main__":
    sys.exit(main())
