import base64
import os
import ssl
import time
from pathlib import Path

import pytest

from sidecar.errors import SettingsError, UpstreamError
from sidecar.pods.access import (
    ApiAccess,
    ApiTls,
    Credentials,
    Material,
    read_in_cluster,
    split_server,
)
from tests.sidecar.certificates import authority

_CA = authority()


@pytest.mark.parametrize(
    ("url", "access"),
    [
        ("https://k8s:6443", ApiAccess("k8s", 6443, is_secure=True)),
        ("https://k8s", ApiAccess("k8s", 443, is_secure=True)),
        ("http://127.0.0.1:8001/", ApiAccess("127.0.0.1", 8001, is_secure=False)),
        ("https://[fd00::1]:6443/k8s/", ApiAccess("fd00::1", 6443, is_secure=True, prefix="/k8s")),
    ],
)
def test_a_servers_url_is_divided(url: str, access: ApiAccess) -> None:
    assert split_server(url, "server") == access


@pytest.mark.parametrize(
    "url", ["", "k8s:6443", "ftp://k8s", "https://", "https://k:x", "https://a b"]
)
def test_a_url_that_is_none_names_where_it_stands(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^clusters\[0\]\.server: "):
        split_server(url, "clusters[0].server")


def test_a_pod_finds_its_api_server_by_its_environment(tmp_path: Path) -> None:
    for name, text in (("token", "secret"), ("namespace", "shop\n")):
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}

    access = read_in_cluster(environ, tmp_path)

    assert access is not None
    assert (access.host, access.port, access.namespace) == ("fd00::1", 6443, "shop")
    assert access.credentials.header() == "Bearer secret"
    assert access.ca == Material(tmp_path / "ca.crt")


def test_outside_of_a_pod_there_is_none(tmp_path: Path) -> None:
    assert read_in_cluster({}, tmp_path) is None
    assert read_in_cluster({"KUBERNETES_SERVICE_HOST": "k"}, tmp_path) is None


def test_a_tokens_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    credentials = Credentials(token_file=file)
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        assert credentials.header() == f"Bearer {token}"


def test_a_token_that_no_header_may_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a\r\nHost: evil")

    with pytest.raises(UpstreamError, match="does not contain a valid token"):
        Credentials(token_file=tmp_path / "token").header()


def test_a_user_and_password_are_encoded() -> None:
    pair = base64.b64encode("ann:pässword".encode()).decode()

    assert Credentials(basic=("ann", "pässword")).header() == f"Basic {pair}"
    assert Credentials().header() == ""


def test_no_secret_is_shown() -> None:
    shown = repr(Credentials(token="hush", key=Material(data=b"hush")))

    assert "hush" not in shown
    assert shown == "Credentials(token, key)"


def _secure(**parts: object) -> ApiAccess:
    return ApiAccess("k", 6443, is_secure=True)._replace(**parts)  # type: ignore[arg-type]


def test_http_has_no_tls() -> None:
    assert ApiTls(ApiAccess("k", 80, is_secure=False)).context() is None


def test_the_ca_is_the_clusters_alone() -> None:
    context = ApiTls(_secure(ca=Material(data=_CA.certificate_pem.encode()))).context()

    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_server_may_go_unverified() -> None:
    context = ApiTls(_secure(is_verified=False)).context()

    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE


def test_a_ca_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(_CA.certificate_pem)
    tls = ApiTls(_secure(ca=Material(file)))
    first = tls.context()
    assert tls.context() is first

    file.write_text(authority().certificate_pem)
    os.utime(file, (time.time() + 5,) * 2)

    assert tls.context() is not first


@pytest.mark.parametrize("ca", [Material(data=b"no PEM"), Material(Path("/nonexistent/ca.crt"))])
def test_a_ca_that_is_none_says_so(ca: Material) -> None:
    with pytest.raises(UpstreamError, match="TLS to the API server cannot be set up"):
        ApiTls(_secure(ca=ca)).context()


def test_a_key_that_does_not_fit_says_so() -> None:
    certificate = Material(data=_CA.certificate_pem.encode())
    credentials = Credentials(certificate=certificate, key=Material(data=b"no key"))

    with pytest.raises(UpstreamError, match="cannot be set up"):
        ApiTls(_secure(is_verified=False, credentials=credentials)).context()
