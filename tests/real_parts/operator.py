"""Builds the Prometheus operator, and finds the objects that install it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.real_parts.go import build, find_go

_MODULE = Path(__file__).parent / "operator_module"
_SOURCE = "github.com/prometheus-operator/prometheus-operator"


def operator_program() -> Path:
    """Returns the path of the operator; builds it if needed."""
    return build(_MODULE, f"{_SOURCE}/cmd/operator", "prometheus-operator")


def reloader_program() -> Path:
    """Returns the path of the config reloader of each Prometheus pod; builds it if needed."""
    package = f"{_SOURCE}/cmd/prometheus-config-reloader"
    return build(_MODULE, package, "prometheus-config-reloader")


def operator_manifests() -> list[Path]:
    """Returns the manifests of the operator's CRDs and RBAC objects, from its source."""
    command = [str(find_go()), "list", "-m", "-f", "{{.Dir}}", _SOURCE]
    found = subprocess.run(command, cwd=_MODULE, capture_output=True, text=True, check=True)
    example = Path(found.stdout.strip()) / "example"
    rights = example / "rbac" / "prometheus-operator"
    return [
        *sorted((example / "prometheus-operator-crd").glob("*.yaml")),
        *(rights / f"prometheus-operator-{name}.yaml" for name in (
            "service-account", "cluster-role", "cluster-role-binding", "deployment")),
    ]  # fmt: skip
