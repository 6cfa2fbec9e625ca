import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.errors import SettingsError
from sidecar.pods.access import ApiAccess, Material
from sidecar.pods.kubeconfig import kubeconfig_files, read_kubeconfig


def _config(**changes: Any) -> dict[str, Any]:
    cluster: dict[str, Any] = {"server": "https://k8s:6443", **changes.pop("cluster", {})}
    user = changes.pop("user", {"token": "secret"})
    context = {"cluster": "c", "user": "u", **changes.pop("context", {})}
    return {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}, {"name": "y", "context": context}],
        **changes,
    }


def _write(folder: Path, document: Any, name: str = "config") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(json.loads(json.dumps(document))))
    return path


def _read(folder: Path, **changes: Any) -> ApiAccess:
    return read_kubeconfig([_write(folder, _config(**changes))])


def test_the_current_contexts_cluster_and_user_are_taken(tmp_path: Path) -> None:
    access = _read(tmp_path, context={"namespace": "shop"})

    assert (access.host, access.port, access.namespace) == ("k8s", 6443, "shop")
    assert access.credentials.token == "secret"
    assert access.is_verified


def test_a_certificate_may_be_a_file_beside_the_kubeconfig_or_stand_in_it(tmp_path: Path) -> None:
    data = base64.b64encode(b"pem").decode()
    access = _read(
        tmp_path,
        cluster={"certificate-authority": "ca.crt", "tls-server-name": "kubernetes"},
        user={"client-certificate-data": data, "client-key": "/abs/key"},
    )

    assert access.ca == Material(tmp_path / "ca.crt")
    assert access.server_name == "kubernetes"
    assert access.credentials.certificate == Material(data=b"pem")
    assert access.credentials.key == Material(Path("/abs/key"))


def test_a_tokens_file_is_followed(tmp_path: Path) -> None:
    assert _read(tmp_path, user={"tokenFile": "t"}).credentials.token_file == tmp_path / "t"


def test_of_several_files_the_first_that_names_a_thing_wins(tmp_path: Path) -> None:
    one = _write(tmp_path, {"users": [{"name": "u", "user": {"token": "first"}}]}, "one")
    two = _write(tmp_path, _config(), "two")

    assert read_kubeconfig([one, two]).credentials.token == "first"


@pytest.mark.parametrize(
    ("changes", "context", "message"),
    [
        ({"current-context": ""}, "", r"current-context is not set; .* \(available: x, y\)"),
        ({"current-context": "z"}, "", r"no context 'z' \(available: x, y\)"),
        ({}, "z", r"no context 'z' \(available: x, y\)"),
        ({"clusters": []}, "", r"no cluster 'c' \(none is defined\)"),
        ({"cluster": {"server": "k8s"}}, "", r"clusters\[0\]\.cluster\.server: 'k8s' is not https"),
        ({"cluster": {"proxy-url": "http://p"}}, "", "a proxy to the API server is not supported"),
        (
            {"user": {"exec": {"command": "aws"}}},
            "",
            r"users\[0\]\.user\.exec: it runs an external",
        ),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "", "uses an auth-provider"),
        ({"user": {"client-key-data": "!"}}, "", "client-key-data: not Base64"),
        (
            {"user": {"client-key": "k"}},
            "",
            "client-certificate and client-key must be set together",
        ),
        ({"users": {}}, "", "users: a list of mappings is needed, not a mapping"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, changes: dict[str, Any], context: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        read_kubeconfig([_write(tmp_path, _config(**changes))], context)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: [")

    with pytest.raises(SettingsError, match="config: not YAML"):
        read_kubeconfig([tmp_path / "config"])


def test_without_a_file_it_says_where_one_is_looked_for() -> None:
    with pytest.raises(
        SettingsError, match=r"no kubeconfig found \(--kubeconfig, KUBECONFIG, ~/\.kube/config\)"
    ):
        read_kubeconfig([])


def test_the_file_given_goes_before_the_variable_and_that_before_the_usual_one(
    tmp_path: Path,
) -> None:
    usual = tmp_path / ".kube" / "config"
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("{}")
    two.write_text("{}")
    environ = {"HOME": str(tmp_path), "KUBECONFIG": f"{one}:/none:{two}"}

    assert kubeconfig_files("/c", environ) == [Path("/c")]
    assert kubeconfig_files("", environ) == [one, two]
    assert kubeconfig_files("", {"KUBECONFIG": "/none"}) == [Path("/none")]
    assert kubeconfig_files("", {"HOME": str(tmp_path)}) == []
    usual.parent.mkdir()
    usual.write_text("{}")
    assert kubeconfig_files("", {"HOME": str(tmp_path)}) == [usual]
