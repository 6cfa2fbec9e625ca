"""The migration pages name everything of what is replaced, and all of it works here."""

import re
from pathlib import Path

import pytest

from sidecar.model.pods.discovery_settings import (
    Authorization,
    BasicAuth,
    OAuth2,
    TlsSettings,
    parse_discovery_settings,
)
from sidecar.model.pods.http_sd import discover
from sidecar.model.pods.pod_stream import read_pods
from sidecar.roles.node.settings import build_parser, parse_node_settings
from tests.docs.pages import DOCS
from tests.sidecar.kubelets import pod_list
from tests.sidecar.model.pods.test_pod_list import WHOLE

# As its own help and documents have them.
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
    """Return what stands in code in the first column of a page's tables."""
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


def test_the_pages_are_where_readers_look() -> None:
    for page in (DOCS / "migrate").glob("*.md"):
        assert f"migrate/{page.name}" in (DOCS / "node-role.md").read_text()
    assert "docs/migrate" in (Path(DOCS).parent / "README.md").read_text()
