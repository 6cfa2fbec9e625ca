"""The migration pages name every feature of the replaced programs, and all of them work here."""

import json
import re
import shlex
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from sidecar.model.pods.discovery_settings import (
    Authorization,
    BasicAuth,
    OAuth2,
    TlsSettings,
    parse_discovery_settings,
)
from sidecar.model.pods.http_sd import discover
from sidecar.model.pods.pod_stream import read_pods
from sidecar.roles.aggregate.settings import parse_aggregate_settings
from sidecar.roles.node.settings import build_parser, parse_node_settings
from tests.docs.pages import DOCS
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program, running_prometheus
from tests.sidecar.kubelets import pod_list
from tests.sidecar.model.pods.test_pod_list import WHOLE
from tests.sidecar.processes import Proxy

# As in its own help and documentation.
META_PROXY_FLAGS = {
    "node-name-or-ip": "worker-1", "node-ip": "10.0.0.7", "node-port": "10250",
    "node-cadvisor-path": "/metrics/cadvisor", "kube-apiserver": "api.example",
    "metrics-port": "8080", "enable-http2": "false", "metrics-secure": "true",
    "metrics-bind-address": ":8443", "metrics-cert-path": "/certs", "metrics-cert-name": "tls.crt",
    "metrics-cert-key": "tls.key", "health-probe-bind-address": ":8081", "max-concurrency": "1",
    "cache-sync-timeout": "2m",
}  # fmt: skip
ALLOY_ARGUMENTS = {
    "url", "refresh_interval", "namespaces", "bearer_token", "bearer_token_file", "enable_http2",
    "follow_redirects", "proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header",
    "basic_auth", "authorization", "oauth2", "tls_config", "username", "password", "password_file",
    "type", "credentials", "credentials_file", "client_id", "client_secret", "client_secret_file",
    "endpoint_params", "scopes", "token_url", "ca_pem", "ca_file", "cert_pem", "cert_file",
    "key_pem", "key_file", "insecure_skip_verify", "min_version", "server_name",
}  # fmt: skip


def _first_column(page: str) -> set[str]:
    """Return the code spans in the first column of a page's tables."""
    rows = [line.split(" | ")[0] for line in _text(page).splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def _text(page: str) -> str:
    return (DOCS / "migrate" / page).read_text()


@pytest.mark.parametrize("dash", ["-", "--"])
def test_every_flag_of_kubelet_meta_proxy_is_on_its_page_and_taken(dash: str) -> None:
    flags = [f"{dash}{name}={value}" for name, value in META_PROXY_FLAGS.items()]

    settings = parse_node_settings(["--role=node", "--auth=none", *flags], {})

    assert {f"-{name}" for name in META_PROXY_FLAGS} <= _first_column("kubelet-meta-proxy.md")
    assert settings.kubelet.url == "https://api.example:10250/api/v1/nodes/worker-1/proxy"


def test_the_page_names_no_flag_that_is_not_taken() -> None:
    known = set(build_parser()._option_string_actions)

    named = {name for name in _first_column("kubelet-meta-proxy.md") if re.match(r"-+[a-z]", name)}
    assert named <= known


def test_every_argument_of_alloy_is_on_its_page_and_has_a_home() -> None:
    page = _first_column("alloy-discovery-kubelet.md")
    blocks = (TlsSettings, BasicAuth, Authorization, OAuth2)
    fields = {name for block in blocks for name in block.__dataclass_fields__}
    with pytest.raises(Exception, match="known here") as caught:
        parse_discovery_settings({"none": 1})
    top = set(str(caught.value).partition("known here: ")[2].rstrip(")").split(", "))

    assert page >= ALLOY_ARGUMENTS
    assert fields | top >= ALLOY_ARGUMENTS


def test_every_label_of_a_target_is_on_the_page() -> None:
    page = {re.sub(r"<name>$", "", name) for name in _first_column("alloy-discovery-kubelet.md")}
    annotated = {**WHOLE, "metadata": {**WHOLE["metadata"], "annotations": {"a": "b"}}}
    (target, *_) = discover(read_pods(pod_list(annotated)), (), {"shop": {"a": "b"}})

    told = {re.sub(r"(label|labelpresent|annotation|annotationpresent)_(app|a)$", r"\1_", name)
            for name in target.labels}  # fmt: skip
    assert told | {"__address__"} == {name for name in page if name.startswith("__")}


K8S_PROXY = {
    "POD_LABEL_SELECTOR", "SCRAPE_TIMEOUT", "PORT", "KUBECONFIG",
    "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path",
    "k8s_pod_name", "k8s_namespace", "up",
}  # fmt: skip
"""Every name in metrics-k8s-proxy's documentation."""


def test_every_name_of_metrics_k8s_proxy_is_on_its_page() -> None:
    assert _first_column("metrics-k8s-proxy.md") >= K8S_PROXY


def test_the_manifest_of_metrics_k8s_proxy_is_understood_as_it_stands() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", _text("metrics-k8s-proxy.md"), re.DOTALL)
    (container,) = yaml.safe_load(text)["containers"]
    environ = {item["name"]: item["value"] for item in container["env"]}
    assert "args" not in container  # nor a command: the variable alone chooses the role

    settings = parse_aggregate_settings(
        ["--role", "aggregate", "--compatible-with", "metrics-k8s-proxy"], environ
    )

    assert settings.selector.text == "app=my-app"
    assert (settings.timeout_seconds, settings.port) == (15, container["ports"][0]["containerPort"])
    assert settings.all_namespaces
    assert settings.names.identity == ("k8s_namespace", "k8s_pod_name")


def test_the_layer_of_a_juju_charm_starts_the_same() -> None:
    layer = yaml.safe_load((DOCS.parent / "examples/aggregate/pebble-layer.yaml").read_text())
    (service,) = layer["services"].values()

    assert service["command"] == "livery-proxy"
    assert parse_aggregate_settings(["--role", "aggregate"], service["environment"]).port == 15090


def test_the_example_without_an_injector_is_understood() -> None:
    text = (DOCS.parent / "examples/aggregate/deployment.yaml").read_text()
    (deployment,) = [one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert parse_aggregate_settings(container["args"], {}).selector.text == "app=web"


MULTI_TENANT_PROXY = {
    *(f"discovery.kubernetes.{key}" for key in (
        "namespaces", "label_selectors", "annotation_selectors", "port", "resource_types",
        "refresh_interval")),
    *(f"tenants.{key}" for key in ("watch_all_namespaces", "refresh_interval")),
    *(f"proxy.{key}" for key in (
        "listen_address", "enable_caching", "cache_ttl", "enable_metrics", "enable_request_logging",
        "max_concurrent_requests", "backend_timeout")),
    *(f"remote_write.{key}" for key in (
        "enabled", "collection_interval", "default_interval", "max_concurrent_jobs", "timeout",
        "batch_size")),
    "--config", "--port", "--log-level", "--kubeconfig",
    "/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/health",
    "/metrics", "/debug/targets", "/debug/tenants", "/collected-metrics",
    "prometheus_proxy_requests_total", "prometheus_proxy_request_duration_seconds",
    "prometheus_proxy_backend_requests_total", "prometheus_proxy_targets_discovered",
    "prometheus_proxy_tenants_active", "tenant_id", "total_metrics", "filtered_metrics",
    "successful_targets", "level", "time", "msg", "namespace",
}  # fmt: skip
"""Every name in prometheus-multi-tenant-proxy's documentation about reading and its file."""


def test_every_name_of_prometheus_multi_tenant_proxy_is_on_its_page() -> None:
    assert _first_column("prometheus-multi-tenant-proxy.md") >= MULTI_TENANT_PROXY


def test_its_command_answers_its_own_example(tmp_path: Path) -> None:
    have(prometheus_program)
    (command,) = re.findall(
        r"```bash\nlivery-proxy (.*?)```", _text("prometheus-multi-tenant-proxy.md"), re.DOTALL
    )
    config = """
scrape_configs:
- job_name: app
  scrape_interval: 200ms
  static_configs:
  - {targets: ["127.0.0.1:1"], labels: {namespace: shop}}
  - {targets: ["127.0.0.1:2"], labels: {namespace: bank}}
"""
    with running_prometheus(config, tmp_path / "prometheus") as prometheus:
        arguments = shlex.split(
            command.replace("\\\n", "").replace("http://localhost:9090", prometheus.url)
        )
        proxy = Proxy((*arguments, "--port=0", "--admin-port=0"), tmp_path / "log", {})
        try:
            url = f"http://127.0.0.1:{proxy.port('queries')}/api/v1/query?query=up"
            shop = urllib.request.Request(url, headers={"X-Tenant-Namespace": "shop"})
            found: set[str] = set()
            deadline = time.monotonic() + 20
            while not found and time.monotonic() < deadline:
                with urllib.request.urlopen(shop) as answer:
                    result = json.load(answer)["data"]["result"]
                found = {item["metric"]["namespace"] for item in result}
        finally:
            proxy.stop()

    assert found == {"shop"}
    assert any("enable_caching" in str(entry) for entry in proxy.entries())


def test_the_pages_are_where_readers_look() -> None:
    pages = ("node-role.md", "aggregate-role.md", "gateway.md", "quickstart.md")
    roles = "".join((DOCS / name).read_text() for name in pages)
    for page in (DOCS / "migrate").glob("*.md"):
        assert f"migrate/{page.name}" in roles
    assert "docs/migrate" in (Path(DOCS).parent / "README.md").read_text()
