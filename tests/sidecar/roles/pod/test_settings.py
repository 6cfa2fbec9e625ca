import pytest

from sidecar.roles.pod.settings import PodSettings, parse_pod_settings

_TARGET = ("--target", "http://:8080/metrics")


def _parse(*arguments: str, **environ: str) -> PodSettings:
    return parse_pod_settings(["--role", "pod", *arguments], environ)


def test_without_anything_the_ports_are_the_usual_and_the_fault_is_named() -> None:
    settings = _parse()

    assert (settings.port, settings.admin_port) == (16090, 16091)
    assert settings.faults == ("--target: no target is set, so there is nothing to scrape",)


def test_good_settings_have_no_fault() -> None:
    settings = _parse(*_TARGET, "--policy", "p.yaml", "--filter", "metricaccess", "--port", "0")

    assert settings.faults == ()
    assert (settings.port, settings.filters, str(settings.policy_file)) == (0, True, "p.yaml")


@pytest.mark.parametrize(
    "text", ["", "65536", "-1", "1e3", "x", "٣", " 80", "9" * 5000, "0x50", "8\udcff"]
)
def test_a_port_that_is_none_is_a_fault_and_the_default_is_used(text: str) -> None:
    settings = _parse(*_TARGET, f"--port={text}")

    assert settings.port == 16090
    assert len(settings.faults) == 1
    assert settings.faults[0].endswith("is not a port from 0 to 65535; using 16090")


def test_a_wrong_command_line_still_tells_where_to_listen() -> None:
    settings = _parse("--port", "1234", "--what", "--admin-port=1235", *_TARGET)

    assert (settings.port, settings.admin_port) == (1234, 1235)
    assert settings.faults == ("unrecognized arguments: --what",)


@pytest.mark.parametrize(
    "arguments", [["--role"], ["--role", "node"], ["--role=pod", "--port"], ["--role", "pod", "x"]]
)
def test_no_command_line_is_refused_outright(arguments: list[str]) -> None:
    settings = parse_pod_settings(arguments, {})

    assert settings.port == 16090
    assert len(settings.faults) == 1


def test_two_targets_need_two_names() -> None:
    settings = _parse("--target", "a=http://:1/", "--target", "a=http://:2/")

    assert settings.faults == ("--target: two targets have the same name; write NAME=URL",)


def test_targets_are_limited_in_number() -> None:
    settings = _parse(*(f"--target=http://:{port}/" for port in range(1, 2000)))

    assert len(settings.targets) == 16
    assert settings.faults == ("--target: 1999 targets; at most 16 are allowed",)


def test_a_remote_target_needs_a_permission() -> None:
    remote = ("--target", "http://192.0.2.1:80/")

    assert len(_parse(*remote).faults) == 1
    assert _parse(*remote, "--allow-remote-targets").faults == ()


def test_the_identity_comes_from_the_environment() -> None:
    identity = _parse(
        *_TARGET, LIVERY_POD_NAMESPACE="n", LIVERY_POD_NAME="p", LIVERY_POD_IP="10.0.0.1"
    ).identity

    assert (identity.namespace, identity.pod, identity.instance) == ("n", "p", "10.0.0.1")


def test_the_bootstrap_policy_comes_from_the_environment() -> None:
    bootstrap = _parse(*_TARGET, LIVERY_NAMESPACE_LABELS="a=b,c=,,d=e=f").bootstrap

    assert bootstrap is not None
    assert bootstrap["labels"] == {"a": "b", "c": "", "d": "e=f"}


def test_without_an_injector_there_is_neither_bootstrap_nor_control_service() -> None:
    settings = _parse(*_TARGET)

    assert (settings.bootstrap, settings.control) == (None, None)


def test_the_control_service_comes_from_the_environment() -> None:
    control = _parse(
        *_TARGET, LIVERY_CONTROL_URL="https://c:1", LIVERY_CONTROL_CA="pem", LIVERY_TOKEN_FILE="/t"
    ).control

    assert control is not None
    assert (control.url, control.ca_bundle, str(control.token_file)) == (
        "https://c:1",
        "pem",
        "/t",
    )


def test_one_port_for_two_servers_is_a_fault() -> None:
    (fault,) = _parse(*_TARGET, "--port", "16091").faults

    assert "both 16091" in fault
