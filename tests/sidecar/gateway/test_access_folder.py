from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.errors import DocumentError
from sidecar.gateway import access_folder
from sidecar.gateway.access_folder import read_access_folder
from sidecar.model.policy.gateway import parse_gateway_policy


def _object(namespace: str, name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "observability.ethos.io/v1alpha1", "kind": "MetricAccess",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"metrics": ["up"], "metricIsolation": True, **spec},
    }  # fmt: skip


def _write(path: Path, *objects: object) -> Path:
    path.write_text(yaml.safe_dump_all(objects))
    return path


def _namespaces(path: Path, *, grants_all: bool = False) -> dict[str, list[object]]:
    document = read_access_folder(path, grants_all=grants_all)
    tenants = parse_gateway_policy(document).policy.tenants
    return {name: [rule.namespaces for rule in rules] for name, rules in tenants.items()}


def test_objects_of_all_files_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", _object("shop"), None, {"kind": "Namespace"}, _object("shop", "b"))
    listed = {"kind": "List", "items": [_object("bank"), {"kind": "Pod"}]}
    _write(tmp_path / "b.yml", listed)
    (tmp_path / "notes.txt").write_text("kind: MetricAccess")

    assert _namespaces(tmp_path) == {
        "shop": [frozenset(["shop"])] * 2, "bank": [frozenset(["bank"])],
    }  # fmt: skip
    assert _namespaces(tmp_path / "b.yml") == {"bank": [frozenset(["bank"])]}


def test_reading_beyond_the_own_namespace_is_the_platform_s_to_grant(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", _object("shop", metricIsolation=False))

    assert _namespaces(tmp_path) == {"shop": [frozenset(["shop"])]}
    assert _namespaces(tmp_path, grants_all=True) == {"shop": [None]}


def test_what_cannot_be_used_grants_nothing_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nameless = _object("shop")
    nameless["metadata"] = []
    objects = [
        _object("shop", metrics=["up", "("]), _object("bank", metrics=[]), _object(""), nameless,
    ]  # fmt: skip
    _write(tmp_path / "a.yaml", *objects)

    assert list(_namespaces(tmp_path)) == ["shop"]
    said = [str(vars(record)["reason"]) for record in caplog.records]
    assert len(said) == 4
    for text in ("pattern '('", "spec.metrics", "metadata.namespace: missing", "a mapping"):
        assert any(text in reason for reason in said), text


@pytest.mark.parametrize("name", ["none", "a.yaml"])
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    if name == "a.yaml":
        (tmp_path / name).write_text("a: [")

    with pytest.raises(DocumentError, match=name):
        read_access_folder(tmp_path / "none" if name == "none" else tmp_path, grants_all=False)


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        _write(tmp_path / f"{name}.yaml", _object("shop"))
    monkeypatch.setattr(access_folder, "MAX_BYTES", 300)
    with pytest.raises(DocumentError, match="its files together are over"):
        read_access_folder(tmp_path, grants_all=False)
    monkeypatch.setattr(access_folder, "MAX_FILES", 2)
    with pytest.raises(DocumentError, match="more than 2 files"):
        read_access_folder(tmp_path, grants_all=False)


def test_a_file_that_went_meanwhile_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")

    with pytest.raises(DocumentError, match=r"gone\.yaml: No such file"):
        read_access_folder(tmp_path, grants_all=False)
