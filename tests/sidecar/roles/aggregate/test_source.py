from collections.abc import Collection
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.model.policy.series import SeriesPolicy
from sidecar.roles.aggregate.settings import parse_aggregate_settings
from sidecar.roles.aggregate.source import ApiPods, ControlPods, find_api_server, make_source
from tests.sidecar.certificates import authority

_KUBECONFIG = """
current-context: {context}
clusters: [{{name: c, cluster: {{server: "http://k8s:8001"}}}}]
contexts:
- {{name: x, context: {{cluster: c, namespace: shop}}}}
- {{name: y, context: {{cluster: c}}}}
"""


class _Listener:
    def __init__(self) -> None:
        self.used: list[tuple[SeriesPolicy, Collection[str] | None]] = []

    def pods_changed(self) -> None:
        pass

    def use(self, policy: SeriesPolicy, namespaces: Collection[str] | None) -> None:
        self.used.append((policy, namespaces))


def _kubeconfig(folder: Path, context: str = "x") -> str:
    path = folder / "config"
    path.write_text(_KUBECONFIG.format(context=context))
    return str(path)


def _api(*arguments: str, kubeconfig: str, listener: _Listener | None = None) -> ApiPods:
    given = ["--role", "aggregate", "--pod-label-selector", "app=web", *arguments]
    settings = parse_aggregate_settings(given, {})
    source = make_source(settings, {"KUBECONFIG": kubeconfig}, listener or _Listener())
    assert isinstance(source, ApiPods)
    return source


def test_the_contexts_namespace_is_meant_where_nobody_says(tmp_path: Path) -> None:
    assert _api(kubeconfig=_kubeconfig(tmp_path)).where == "namespace shop"
    assert _api("--context", "y", kubeconfig=_kubeconfig(tmp_path)).where == "namespace default"


def test_namespaces_can_be_named(tmp_path: Path) -> None:
    kubeconfig = _kubeconfig(tmp_path)

    assert _api("-n", "a", "-n", "b", kubeconfig=kubeconfig).where == "namespaces a, b"
    assert _api("-A", kubeconfig=kubeconfig).where == "all namespaces"


def test_before_the_first_list_there_is_a_reason(tmp_path: Path) -> None:
    source = _api(kubeconfig=_kubeconfig(tmp_path))

    assert source.fault == "the API server has not listed the pods yet"
    assert list(source.pods) == []


def test_a_policy_file_brings_labels(tmp_path: Path) -> None:
    policy, listener = tmp_path / "policy.yaml", _Listener()
    policy.write_text("namespaces: {shop: {team: blue}}")

    _api("--policy", str(policy), kubeconfig=_kubeconfig(tmp_path), listener=listener)

    ((used, namespaces),) = listener.used
    assert used.namespaces == {"shop": {"team": "blue"}}
    assert namespaces is None


def test_a_policy_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("namespaces: 5")

    with pytest.raises(SettingsError, match=r"--policy: .*namespaces: a mapping is needed"):
        _api("--policy", str(policy), kubeconfig=_kubeconfig(tmp_path))


def test_in_a_pod_its_own_account_is_used_unless_a_kubeconfig_is_named(tmp_path: Path) -> None:
    settings = parse_aggregate_settings(["--role", "aggregate"], {"POD_LABEL_SELECTOR": "app=web"})
    environ = {"KUBECONFIG": _kubeconfig(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}

    assert find_api_server(settings, environ).host == "k8s"
    with pytest.raises(SettingsError, match="no kubeconfig found"):
        find_api_server(settings, {"HOME": str(tmp_path)})


def test_with_a_control_service_its_stream_is_the_source(tmp_path: Path) -> None:
    environ = {
        "POD_LABEL_SELECTOR": "app=web",
        "LIVERY_CONTROL_URL": "https://control:1",
        "LIVERY_CONTROL_CA": authority().certificate_pem,
    }
    settings = parse_aggregate_settings(["--role", "aggregate"], environ)
    source = make_source(settings, environ, _Listener())

    assert isinstance(source, ControlPods)
    assert source.fault == "the list of pods has not arrived yet"
    assert source.where == "all namespaces"
