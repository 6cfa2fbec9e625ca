"""The chart's collector, and the injector's permissions for forwarding."""

import subprocess

import pytest
import yaml

from tests.real_parts.chart import render_chart
from tests.real_parts.kubernetes import helm_program
from tests.real_parts.presence import have

_PROMETHEUS = ("--set", "gateway.backends.static={http://prometheus:9090}")
_COLLECTOR = ("--set", "remoteWrite.collector.enabled=true", *_PROMETHEUS)


def _platform(*flags: str) -> dict[str, object]:
    (settings,) = render_chart("templates/configmap-platform.yaml", *flags)
    found: dict[str, object] = yaml.safe_load(settings["data"]["platform.yaml"])
    return found


def test_a_collector_is_granted_what_it_needs_and_asks_the_platform_s_prometheus() -> None:
    (deployment,) = render_chart("templates/deployment-collector.yaml", *_COLLECTOR)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    grants = _platform(*_COLLECTOR)["control"]["grants"]  # type: ignore[index]

    assert pod["serviceAccountName"] == "livery-collector"
    assert pod["automountServiceAccountToken"] is False
    assert container["args"][:3] == [
        "--role=gateway",
        "--collect",
        "--backend=http://prometheus:9090",
    ]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for kind in ("gateways", "collectors"):
        assert grants[kind] == ["livery-system/livery-collector"]


def test_the_injector_knows_collectors_by_a_service_of_their_account_s_name() -> None:
    (service,) = render_chart("templates/service-collector.yaml", *_COLLECTOR)

    assert service["metadata"]["name"] == "livery-collector"
    assert service["spec"]["clusterIP"] == "None"


def test_what_a_collector_says_of_a_namespace_stays_where_an_operator_scrapes_it() -> None:
    flags = (*_COLLECTOR, "--set", "remoteWrite.collector.serviceMonitor.enabled=true")
    (monitor,) = render_chart("templates/servicemonitor-collector.yaml", *flags)
    (service,) = render_chart("templates/service-collector.yaml", *flags)
    (endpoint,) = monitor["spec"]["endpoints"]

    assert endpoint["honorLabels"] is True
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )


def test_secrets_are_read_in_the_namespaces_that_are_named_and_nowhere_else() -> None:
    found = render_chart(
        "templates/role-secrets.yaml", "--set", "remoteWrite.secretNamespaces={shop,bank}"
    )
    roles = [item for item in found if item["kind"] == "Role"]

    assert {item["metadata"]["namespace"] for item in found} == {"shop", "bank"}
    assert [role["rules"] for role in roles] == [
        [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    ] * 2


def test_what_objects_send_by_default_is_the_chart_s_word() -> None:
    assert _platform()["remoteWrite"] == {
        "collect": "proxies",
        "defaultExtraLabels": {"tenant": "{namespace}", "managed_by": "livery"},
        "allowedRanges": [],
        "clusterDomain": "cluster.local",
        "secretNamespaces": [],
        "requireSecretConsent": True,
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--set", "remoteWrite.collector.enabled=true"), "needs a Prometheus"),
        ((*_COLLECTOR, "--set", "control.enabled=false"), "needs control.enabled"),
        (("--set", "remoteWrite.collect=mail"), "remoteWrite"),
        (("--set", "remoteWrite.allowedRanges={all}"), "allowedRanges"),
    ],
)
def test_values_that_cannot_be_together_are_refused(flags: tuple[str, ...], reason: str) -> None:
    have(helm_program)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        render_chart("templates/deployment-collector.yaml", *flags)

    assert reason in caught.value.stderr
