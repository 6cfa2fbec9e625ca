import argparse
from pathlib import Path

import pytest

from injector.commands.explain.access_objects import add_access_arguments, read_tenants
from injector.errors import SettingsError

_OBJECTS = """
kind: MetricAccess
metadata: {name: named, namespace: bank}
spec: {metrics: [up]}
---
kind: MetricAccess
metadata: {name: nameless}
spec: {metrics: [up]}
---
kind: Namespace
metadata: {name: shop, labels: {team: web}}
---
kind: Secret
metadata: {name: left-out, namespace: shop}
"""


def _given(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_access_arguments(parser.add_argument)
    return parser.parse_args(arguments)


def test_objects_of_files_are_their_namespace_s_or_the_tenant_s(tmp_path: Path) -> None:
    (tmp_path / "objects.yaml").write_text(_OBJECTS)
    _, cluster = read_tenants(_given("-f", str(tmp_path / "objects.yaml")), ["shop", "other"])

    assert [name for name, _ in cluster.named("MetricAccess", "bank")] == ["named"]
    assert [name for name, _ in cluster.named("MetricAccess", "shop")] == ["nameless"]
    assert cluster.namespace("shop") is not None
    assert cluster.secret("shop", "left-out") is None


def test_the_cluster_has_settings_of_its_own() -> None:
    with pytest.raises(SettingsError, match="--platform needs -f"):
        read_tenants(_given("--platform", "x"), ["shop"])
