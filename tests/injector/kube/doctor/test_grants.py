"""Permissions that an installation needs."""

import pytest

from injector.errors import SettingsError
from injector.kube.doctor.grants import look_at_grants, node_rights, read_platform
from tests.injector.kube.doctor.objects import INSTALLATION, Holding

_PATH = "/api/v1/namespaces/livery-system/configmaps/livery-platform"


@pytest.mark.parametrize(
    ("arguments", "subresources"),
    [
        ([], ["metrics"]),
        (["--discovery"], ["metrics", "pods"]),
        (["--pod-label=app"], ["metrics", "pods"]),
        (["--complete-cgroups"], ["metrics", "pods"]),
        (["--via-apiserver=https://x", "--discovery"], ["proxy"]),
        (["--port=16090", "--log-level=info"], ["metrics"]),
    ],
)
def test_a_node_proxy_needs_what_its_arguments_ask_of_kubelets(
    arguments: list[str], subresources: list[str]
) -> None:
    rights = node_rights(arguments)

    assert [right.subresource for right in rights] == subresources
    assert {(right.verb, right.group, right.resource) for right in rights} == {("get", "", "nodes")}


def test_settings_are_read_from_the_installations_own_map(holding: Holding) -> None:
    found = {"data": {"platform.yaml": "control: {grants: {nodes: [shop/node]}}"}}
    with holding({_PATH: found}) as client:
        platform = read_platform(client, INSTALLATION)

    assert platform is not None
    assert platform.nodes == ("shop/node",)


def test_settings_that_cannot_be_read_are_named_with_their_place(holding: Holding) -> None:
    settings = {"data": {"platform.yaml": "control: {grants: {nodes: ["}}
    with holding({_PATH: settings}) as client, pytest.raises(SettingsError, match=_PATH):
        read_platform(client, INSTALLATION)


def test_where_no_injector_runs_nobody_needs_rights(holding: Holding) -> None:
    with holding({}) as client:
        assert list(look_at_grants(client, INSTALLATION)) == []
