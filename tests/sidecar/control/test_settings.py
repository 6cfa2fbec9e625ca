from pathlib import Path

import pytest

from sidecar.control.settings import ControlSettings, read_control

_ENVIRON = {
    "LIVERY_CONTROL_URL": "https://injector.livery:8443",
    "LIVERY_CONTROL_ADDRESS": "10.0.0.1",
    "LIVERY_CONTROL_CA": "pem",
    "LIVERY_CONTROL_CA_FILE": "/ca.crt",
    "LIVERY_TOKEN_FILE": "/token",
}


def test_every_variable_has_its_setting() -> None:
    assert read_control(_ENVIRON, "node") == ControlSettings(
        url="https://injector.livery:8443",
        address="10.0.0.1",
        ca_bundle="pem",
        token_file=Path("/token"),
        role="node",
        ca_file=Path("/ca.crt"),
    )


@pytest.mark.parametrize("url", [{}, {"LIVERY_CONTROL_URL": ""}])
def test_without_a_url_there_is_no_control_service(url: dict[str, str]) -> None:
    assert read_control({**dict(list(_ENVIRON.items())[1:]), **url}, "pod") is None


@pytest.mark.parametrize("file", [{}, {"LIVERY_CONTROL_CA_FILE": ""}])
def test_without_a_ca_file_the_ca_comes_from_the_environment(file: dict[str, str]) -> None:
    environ = {"LIVERY_CONTROL_URL": "https://c", "LIVERY_CONTROL_CA": "pem", **file}
    settings = read_control(environ, "pod")

    assert settings is not None
    assert (settings.ca_file, settings.ca_bundle, settings.address) == (None, "pem", "")
