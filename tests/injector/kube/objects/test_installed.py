"""An installation, read from a scripted server; tests/cluster uses a real API server."""

import json
from typing import Any

import pytest

from injector.commands.inputs import parse_platform_text
from injector.errors import KubeError, SettingsError
from injector.kube.objects.installed import (
    Installed,
    read_access_objects,
    read_installed,
    read_surroundings,
)
from tests.injector.kube.servers import misbehaving

_MAPS = "/api/v1/namespaces/livery-system/configmaps/livery-"
_PLATFORM = {"data": {"platform.yaml": "image: {reference: r/s:1}\ncontrol: {url: https://x.y:1}"}}
_WHOLE: dict[str, Any] = {
    f"{_MAPS}platform": _PLATFORM,
    f"{_MAPS}authorities": {"data": {"ca.crt": "PEM"}},
    "/api/v1/namespaces/livery-system/services/x": {"spec": {"clusterIP": "10.0.0.1"}},
}


def _read(answers: dict[str, Any]) -> Installed:
    def answer(path: str, query: object) -> tuple[int, bytes]:
        found = answers.get(path)
        return (404, b"{}") if found is None else (200, json.dumps(found).encode())

    with misbehaving(answer) as client:
        return read_installed(client, "livery-system", "livery", parse_platform_text)


def test_settings_ca_and_address_are_read() -> None:
    platform, ca_bundle = _read(_WHOLE)

    assert (platform.image, ca_bundle) == ("r/s:1", "PEM")
    assert platform.control is not None
    assert (platform.control.url, platform.control.address) == ("https://x.y:1", "10.0.0.1")


def test_without_a_control_service_nothing_else_is_read() -> None:
    silent = {f"{_MAPS}platform": {"data": {"platform.yaml": "control: {enabled: false}"}}}

    assert _read(silent).platform.control is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({f"{_MAPS}platform": None}, "there is no ConfigMap livery-system/livery-platform"),
        ({f"{_MAPS}authorities": None}, "there is no ConfigMap livery-system/livery-authorities"),
        ({f"{_MAPS}authorities": {"data": None}}, "has no CA yet; is the injector running"),
        ({f"{_MAPS}platform": {"data": {"platform.yaml": "a: 1"}}}, "a: not a setting"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_whole_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        _read(_WHOLE | changed)


@pytest.mark.parametrize("status", [404, 403])
def test_a_namespace_that_is_not_there_is_none_and_one_that_may_not_be_read_an_error(
    status: int,
) -> None:
    with misbehaving(lambda path, query: (status, b"{}")) as client:
        if status == 404:
            assert list(read_surroundings(client, "shop")) == []
            assert list(read_access_objects(client, "shop")) == []
            return
        with pytest.raises(KubeError):
            list(read_surroundings(client, "shop"))
        with pytest.raises(KubeError):
            list(read_access_objects(client, "shop"))
