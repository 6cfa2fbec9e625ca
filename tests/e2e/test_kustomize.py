"""`kubectl apply -k examples/kustomize`, for people without Helm."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT, Cluster
from tests.real_parts.kubernetes import helm_program

pytestmark = pytest.mark.timeout(600)


def test_kubectl_builds_and_the_api_server_takes_the_whole_installation(
    cluster: Cluster, tmp_path: Path
) -> None:
    written = subprocess.run(
        ["scripts/install-yaml.sh", helm_program(), "charts/livery", "localhost"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "install.yaml").write_text(written.stdout)
    example = ROOT / "examples" / "kustomize" / "kustomization.yaml"
    (tmp_path / "kustomization.yaml").write_text(example.read_text())

    built = cluster.kubectl("kustomize", str(tmp_path))

    found, expected = (
        sorted(
            (item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(text) if item
        )
        for text in (built, written.stdout)
    )
    assert found == expected
    assert ("Deployment", "livery-injector") in found
    said = cluster.kubectl("apply", "-k", str(tmp_path), "--dry-run=server")
    assert "deployment.apps/livery-injector" in said
