from typing import Any

import pytest

from sidecar.errors import RuleError
from sidecar.model.pods.discovery_settings import (
    Authorization,
    BasicAuth,
    DiscoverySettings,
    OAuth2,
    ProxySettings,
    TlsSettings,
    parse_discovery_settings,
)


@pytest.mark.parametrize("empty", [None, {}, {"tls_config": None, "namespaces": None}])
def test_the_defaults_are_alloy_s(empty: Any) -> None:
    settings = parse_discovery_settings(empty)

    assert settings == DiscoverySettings()
    assert (settings.url, settings.refresh_interval_seconds) == ("https://localhost:10250", 5.0)
    assert (settings.enable_http2, settings.follow_redirects) == (True, True)
    assert settings.tls.min_version == "TLS12"


def test_every_argument_is_taken() -> None:
    tls = {
        "ca_file": "ca", "cert_pem": "cert", "key_pem": "key", "insecure_skip_verify": True,
        "min_version": "TLS13", "server_name": "kubelet",
    }  # fmt: skip
    proxy = {
        "proxy_url": "http://user:pass@proxy:3128", "no_proxy": "10.0.0.0/8",
        "proxy_connect_header": {"X-A": ["1", "2"], "X-B": "3"},
    }  # fmt: skip
    oauth2 = {
        "client_id": "me", "client_secret_file": "secret", "scopes": ["a", "b"],
        "token_url": "https://id/token", "endpoint_params": {"audience": "x"},
        "tls_config": {"ca_pem": "pem"}, "proxy_from_environment": True,
    }  # fmt: skip

    settings = parse_discovery_settings(
        {
            "url": "https://api/api/v1/nodes/n/proxy", "refresh_interval": "1m30s",
            "namespaces": ["shop"], "enable_http2": False, "follow_redirects": False,
            "tls_config": tls, "oauth2": oauth2, **proxy,
        }
    )  # fmt: skip

    assert settings == DiscoverySettings(
        url="https://api/api/v1/nodes/n/proxy",
        refresh_interval_seconds=90,
        namespaces=("shop",),
        enable_http2=False,
        follow_redirects=False,
        tls=TlsSettings(
            ca_file="ca", cert_pem="cert", key_pem="key", insecure_skip_verify=True,
            min_version="TLS13", server_name="kubelet",
        ),
        proxy=ProxySettings(
            proxy_url="http://user:pass@proxy:3128", no_proxy="10.0.0.0/8",
            proxy_connect_header={"X-A": ("1", "2"), "X-B": ("3",)},
        ),
        oauth2=OAuth2(
            client_id="me", client_secret_file="secret", scopes=("a", "b"),
            token_url="https://id/token", endpoint_params={"audience": "x"},
            tls=TlsSettings(ca_pem="pem"), proxy=ProxySettings(proxy_from_environment=True),
        ),
    )  # fmt: skip


def test_each_way_to_be_known_is_taken() -> None:
    basic = parse_discovery_settings({"basic_auth": {"username": "u", "password_file": "p"}})
    other = parse_discovery_settings({"authorization": {"credentials": "x"}})

    assert basic.basic_auth == BasicAuth(username="u", password_file="p")
    assert other.authorization == Authorization(type="Bearer", credentials="x")
    assert parse_discovery_settings({"bearer_token": "t"}).bearer_token == "t"
    assert parse_discovery_settings({"bearer_token_file": "f"}).bearer_token_file == "f"


OAUTH2 = {"client_id": "a", "token_url": "https://id"}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ([], "a mapping is needed"),
        ({"uri": "x"}, "uri: not an argument (known here: authorization, basic_auth"),
        ({"url": "kubelet:10250"}, "url: a URL with scheme https or http is needed"),
        ({"url": "https://a b"}, "url: a URL"),
        ({"url": "https://a:x"}, "url: a URL"),
        ({"url": 1}, "url: a string is needed, not a number"),
        ({"refresh_interval": "soon"}, "refresh_interval: 'soon' is not a duration such as 5s"),
        ({"refresh_interval": "0s"}, "refresh_interval: '0s'"),
        ({"namespaces": "shop"}, "namespaces: a list of strings is needed, not a string"),
        ({"enable_http2": "yes"}, "enable_http2: true or false is needed"),
        ({"bearer_token": "a", "bearer_token_file": "b"}, "bearer_token and bearer_token_file: at"),
        ({"bearer_token": "a", "basic_auth": {}}, "bearer_token and basic_auth: at most one of"),
        ({"authorization": {}, "oauth2": OAUTH2}, "authorization and oauth2: at most one of"),
        ({"basic_auth": {"password": "a", "password_file": "b"}},
         "basic_auth.password and basic_auth.password_file"),
        ({"basic_auth": {"username": "a:b"}}, "basic_auth.username: must not contain a colon"),
        ({"authorization": {"credentials": "a", "credentials_file": "b"}},
         "authorization.credentials and authorization.credentials_file"),
        ({"authorization": {"type": "basic"}},
         "authorization.type: Basic is not supported here: use basic_auth"),
        ({"oauth2": {"token_url": "https://id"}}, "oauth2.client_id: is required"),
        ({"oauth2": {"client_id": "a"}}, "oauth2.token_url: is required"),
        ({"oauth2": {**OAUTH2, "client_secret": "a", "client_secret_file": "b"}},
         "oauth2.client_secret and oauth2.client_secret_file"),
        ({"oauth2": {**OAUTH2, "endpoint_params": {"a": 1}}}, "oauth2.endpoint_params.a: a string"),
        ({"oauth2": {**OAUTH2, "tls_config": {"min_version": "SSL3"}}},
         "oauth2.tls_config.min_version: 'SSL3' is not one of TLS10, TLS11, TLS12, TLS13"),
        ({"tls_config": {"ca_pem": "a", "ca_file": "b"}}, "tls_config.ca_pem and tls_config.ca_f"),
        ({"tls_config": {"cert_file": "a"}},
         "tls_config.cert_file: needs tls_config.key_pem or tls_config.key_file, too"),
        ({"tls_config": {"key_pem": "a"}},
         "tls_config.key_pem: needs tls_config.cert_pem or tls_config.cert_file, too"),
        ({"tls_config": {"cert_file": "a", "cert_pem": "b", "key_pem": "c"}},
         "tls_config.cert_pem and tls_config.cert_file"),
        ({"no_proxy": "a"}, "no_proxy: needs proxy_url, too"),
        ({"proxy_url": "http://a", "proxy_from_environment": True},
         "proxy_url and proxy_from_environment: at most one"),
        ({"no_proxy": "a", "proxy_from_environment": True},
         "no_proxy and proxy_from_environment: at most one"),
        ({"proxy_connect_header": {"a": "b"}},
         "proxy_connect_header: needs proxy_url or proxy_from_environment, too"),
        ({"proxy_url": "http://a", "proxy_connect_header": {"a": ["b\r\nc"]}},
         "proxy_connect_header.a: a printable string"),
        ({"proxy_url": "ftp://a"}, "proxy_url: a URL with scheme http or https or socks5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_named(document: Any, names: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_discovery_settings(document)

    assert str(caught.value).startswith(names)


@pytest.mark.parametrize(
    "document",
    [
        {"bearer_token": "tell-nobody\n"},
        {"bearer_token": ["tell-nobody"]},
        {"basic_auth": {"password": ["tell-nobody"]}},
        {"authorization": {"credentials": "tell-nobody\x00"}},
        {"oauth2": {**OAUTH2, "client_secret": ["tell-nobody"]}},
        {"tls_config": {"key_pem": ["tell-nobody"], "cert_pem": "x"}},
        {"proxy_url": "http://user:tell-nobody@a b"},
        {"authorization": "Bearer tell-nobody"},
        {"basic_auth": "user:tell-nobody"},
        {"oauth2": ["tell-nobody"]},
        {"tls_config": "tell-nobody"},
        {"proxy_url": "http://a", "proxy_connect_header": "X: tell-nobody"},
        {"namespaces": "tell-nobody"},
    ],
)
def test_no_error_shows_a_secret(document: Any) -> None:
    with pytest.raises(RuleError) as caught:
        parse_discovery_settings(document)

    assert "tell-nobody" not in str(caught.value)
