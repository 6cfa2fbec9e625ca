from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.gateway.compatible import CompatibleConfig, read_config


def _read(folder: Path, text: str) -> CompatibleConfig:
    (folder / "config").write_text(text)
    return read_config(folder / "config")


def test_discovery_is_an_entry_for_each_kind(tmp_path: Path) -> None:
    config = _read(tmp_path, """
discovery:
  kubernetes:
    namespaces: [a, b]
    label_selectors: {x: "1", y: "2"}
    annotation_selectors: {z: "3"}
    port: 9090
    resource_types: [Service, Endpoints]
""")  # fmt: skip

    shared = {
        "namespaces": ["a", "b"], "labelSelector": "x=1,y=2", "annotations": {"z": "3"},
        "port": "9090",
    }  # fmt: skip
    assert config.discovery == (
        {"kind": "Service", **shared}, {"kind": "EndpointSlice", **shared},
    )  # fmt: skip
    assert _read(tmp_path, "discovery: {kubernetes: {port: web}}").discovery == (
        {"kind": "Service", "port": "web"},
    )
    assert _read(tmp_path, "{}").discovery == ()


def test_what_the_gateway_has_becomes_its_arguments(tmp_path: Path) -> None:
    config = _read(tmp_path, """
proxy:
  listen_address: "0.0.0.0:9999"
  max_concurrent_requests: 7
  backend_timeout: 1m30s
  enable_request_logging: false
""")  # fmt: skip

    assert config.defaults == {
        "port": "9999", "max_concurrent_requests": "7", "backend_timeout": "90",
        "log_level": "warning",
    }  # fmt: skip


def test_each_key_has_an_equal_or_a_reason(tmp_path: Path) -> None:
    config = _read(tmp_path, """
tenants: {watch_all_namespaces: true, refresh_interval: 30s}
proxy: {cache_ttl: 5m, backend_timeout: 5s}
remote_write: {timeout: 30s}
""")  # fmt: skip

    equals = {item.key: item for item in config.equals}
    assert set(equals) == {
        "tenants.watch_all_namespaces", "tenants.refresh_interval", "proxy.cache_ttl",
        "proxy.backend_timeout", "remote_write.timeout",
    }  # fmt: skip
    assert equals["proxy.backend_timeout"][1:] == ("gateway.backends.timeoutSeconds", 5)
    assert all(item.chart or isinstance(item.value, str) for item in equals.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("servers: []", "servers: not a supported key"),
        ("proxy: {cache: 1}", "proxy.cache: not a supported key"),
        (
            "discovery: {kubernetes: {resource_types: [Node]}}",
            "'Node' is none of Pod, Service, Endp",
        ),
        ("discovery: {kubernetes: {namespaces: a}}", "namespaces: a list of strings"),
        ("proxy: {listen_address: here}", "proxy.listen_address: 'here' has no port"),
        ("proxy: {max_concurrent_requests: 0}", "max_concurrent_requests: an integer from 1"),
        ("proxy: {backend_timeout: soon}", "'soon' is not a duration"),
        ("- a", "a mapping is needed"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        _read(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path / 'config'}: ")
    assert str(caught.value).count(str(tmp_path)) == 1
