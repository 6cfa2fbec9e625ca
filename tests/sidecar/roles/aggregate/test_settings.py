from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.roles.aggregate.settings import (
    AggregateSettings,
    PodsFrom,
    parse_aggregate_settings,
)
from sidecar.scrape.pods.settings import OnConflict, PodsLimits, PodsSettings

_CONTROL = {"LIVERY_CONTROL_URL": "https://livery:8444"}


def _parse(*arguments: str, environ: Mapping[str, str] | None = None) -> AggregateSettings:
    environ = {"POD_LABEL_SELECTOR": "app=web"} if environ is None else environ
    return parse_aggregate_settings(["--role", "aggregate", *arguments], environ)


def _refusal(*arguments: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        _parse(*arguments, environ=environ)
    return str(caught.value)


def test_a_selector_is_all_that_is_needed() -> None:
    settings = _parse("--pod-label-selector", "app=web", environ={})

    assert settings.selector.matches({"app": "web"})
    assert settings.pods_from is PodsFrom.KUBERNETES
    assert (settings.namespaces, settings.all_namespaces) == ((), False)
    assert (settings.port, settings.admin_port) == (15090, 15091)
    assert settings.names == PodsSettings()
    assert settings.limits == PodsLimits()
    assert settings.timeout_seconds is None


def test_the_seeds_variables_work() -> None:
    environ = {"POD_LABEL_SELECTOR": "app=z", "SCRAPE_TIMEOUT": "1m30s", "PORT": "9000"}
    settings = _parse("--compatible-with", "metrics-k8s-proxy", environ=environ)

    assert settings.selector.text == "app=z"
    assert settings.timeout_seconds == 90
    assert (settings.port, settings.admin_port) == (9000, 9001)
    assert settings.names.identity == ("k8s_namespace", "k8s_pod_name")
    assert settings.names.moved == {"job", "instance"}
    assert settings.all_namespaces


def test_an_argument_goes_before_its_variable() -> None:
    environ = {"POD_LABEL_SELECTOR": "app=a", "SCRAPE_TIMEOUT": "5s", "PORT": "1"}
    settings = _parse(
        "--pod-label-selector", "app=b", "--timeout", "2s", "--port", "2", environ=environ
    )

    assert (settings.selector.text, settings.timeout_seconds, settings.port) == ("app=b", 2, 2)


def test_with_a_control_service_pods_come_from_it() -> None:
    environ = {**_CONTROL, "POD_LABEL_SELECTOR": "app=web"}

    assert _parse(environ=environ).pods_from is PodsFrom.CONTROL
    assert _parse("--pods", "kubernetes", environ=environ).control is None


def test_a_star_takes_every_pod() -> None:
    assert _parse("--pod-label-selector", "*").selector.requirements == ()


def test_names_and_bounds_can_be_set() -> None:
    settings = _parse(
        "--namespace-label", "ns", "--pod-label", "p", "--target-label", "c", "--up-name", "pod_up",
        "--on-conflict", "keep", "--samples-limit", "10", "--labels-limit", "5",
        "--bytes-limit", "64Mi", "--total-samples-limit", "99", "--concurrency", "3",
    )  # fmt: skip

    assert settings.names == PodsSettings("ns", "p", "c", "pod_up", OnConflict.KEEP)
    assert settings.limits.target.samples == 10
    assert settings.limits.target.labels == 5
    assert settings.limits.target_bytes == 64 << 20
    assert settings.limits.waiting_bytes == 128 << 20
    assert (settings.limits.samples, settings.limits.concurrency) == (99, 3)


def test_several_namespaces_are_named_once_each() -> None:
    assert _parse("-n", "a", "--namespace", "b", "-n", "a").namespaces == ("a", "b")


def test_a_port_that_the_system_chooses_has_its_own_admin_port() -> None:
    settings = _parse("--port", "0", "--admin-port", "0")

    assert (settings.port, settings.admin_port) == (0, 0)
    assert _parse("--port", "65535").admin_port == 15091


def test_a_policy_file_brings_labels() -> None:
    assert _parse("--policy", "p.yaml").policy_file == Path("p.yaml")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pod-label-selector", "app in (a"), "--pod-label-selector='app in (a': label selector"),
        (("--pod-label-selector", " "), "--pod-label-selector: a label selector is required"),
        (("-n", "a", "-A"), "--namespace must not be set with --all-namespaces"),
        (("--pods", "control"), "--pods control needs a control service: set LIVERY_CONTROL_URL"),
        (("--port", "70000"), "--port: '70000' is not a port"),
        (("--port", "1", "--admin-port", "1"), "--port and --admin-port are both 1"),
        (("--timeout", "9"), "--timeout: '9' is not a duration from 10ms to 10m, such as 9s"),
        (("--timeout", "1h"), "--timeout: '1h' is not a duration"),
        (("--namespace-label", "a-b"), "--namespace-label: 'a-b' is not a valid label name"),
        (("--pod-label", "__pod"), "--pod-label: '__pod' is not"),
        (("--up-name", ""), "--up-name: '' is not a valid metric name"),
        (("--pod-label", "namespace"), "must differ"),
        (("--target-label", "port"), "must differ"),
        (("--samples-limit", "0"), "--samples-limit: '0' is not from 1 to"),
        (("--total-samples-limit", "x"), "--total-samples-limit: 'x' is not an integer"),
        (("--concurrency", "0"), "--concurrency: '0' is not an integer from 1"),
        (("--policy", "p", "--read-namespace-labels"), "--read-namespace-labels must not be set"),
        (("--pods", "x"), "argument --pods: invalid choice"),
        (("-n", "*"), "--namespace: '*' is not a namespace name; use -A for all namespaces"),
        (("-n", "a,b"), "or repeat -n for several"),
        (("-n", ""), "--namespace: '' is not"),
        (("-n", "../.."), "--namespace: '../..' is not"),
        (("--target", "http://x"), "unrecognized arguments: --target"),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], reason: str) -> None:
    assert reason in _refusal(*arguments)


@pytest.mark.parametrize("flag", ["--kubeconfig=x", "--context=x", "--read-namespace-labels"])
def test_what_has_no_effect_is_refused(flag: str) -> None:
    environ = {**_CONTROL, "POD_LABEL_SELECTOR": "app=web"}

    assert "has no effect with --pods control" in _refusal(flag, environ=environ)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "POD_LABEL_SELECTOR: a label selector is required"),
        ({"POD_LABEL_SELECTOR": "=x"}, "POD_LABEL_SELECTOR='=x': label selector, character 1"),
        (
            {"POD_LABEL_SELECTOR": "a", "SCRAPE_TIMEOUT": "x"},
            "SCRAPE_TIMEOUT: 'x' is not a duration",
        ),
        ({"POD_LABEL_SELECTOR": "a", "PORT": "x"}, "PORT: 'x' is not a port"),
    ],
)
def test_a_variable_that_is_wrong_is_named(environ: dict[str, str], reason: str) -> None:
    assert reason in _refusal(environ=environ)
