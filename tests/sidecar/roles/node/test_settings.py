from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.model.exposition.limits import NODE_LIMITS
from sidecar.model.pods.index import PodLabels
from sidecar.roles.node.settings import SERVICE_ACCOUNT, NodeSettings, parse_node_settings

_CONTROL = {"LIVERY_CONTROL_URL": "https://livery:8443"}


def _parse(*arguments: str, environ: Mapping[str, str] | None = None) -> NodeSettings:
    return parse_node_settings(["--role", "node", "--auth=none", *arguments], environ or {})


def _refusal(*arguments: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        _parse(*arguments, environ=environ)
    return str(caught.value)


def test_without_arguments_a_proxy_is_that_of_a_daemonset() -> None:
    settings = _parse(environ={"NODE_IP": "10.0.0.7"})

    assert settings.kubelet.url == "https://10.0.0.7:10250"
    assert settings.kubelet.token_file == SERVICE_ACCOUNT / "token"
    assert settings.kubelet.ca_file == SERVICE_ACCOUNT / "ca.crt"
    assert settings.kubelet.is_verified
    assert (settings.port, settings.admin_port, settings.secure_admin_port) == (8080, 8081, 8443)
    assert settings.text.limits == NODE_LIMITS
    assert settings.text.pod_labels is None


def test_nothing_that_has_to_be_asked_for_is_on_by_default() -> None:
    settings = _parse()

    on = (settings.serves_all_nodes, settings.discovers, settings.text.keeps_timestamps)
    assert on == (False, False, False)
    off = (settings.certificate, settings.admin_certificate, settings.accounts, settings.control)
    assert off == (None, None, None, None)


def test_empty_files_mean_no_token_and_the_systems_cas() -> None:
    kubelet = _parse("--kubelet-token-file", "", "--kubelet-ca-file", "").kubelet

    assert (kubelet.token_file, kubelet.ca_file) == (None, None)


@pytest.mark.parametrize(
    ("environ", "arguments", "host"),
    [
        ({"NODE_IP": "", "NODE_NAME": "w"}, [], "w"),
        ({"NODE_IP": "10.0.0.1", "NODE_NAME": "w"}, [], "10.0.0.1"),
        ({"NODE_IP": "10.0.0.1"}, ["--node-name-or-ip", "x"], "x"),
        ({"NODE_IP": "10.0.0.1"}, ["--node-name-or-ip", "x", "--node-ip", "10.0.0.2"], "10.0.0.2"),
    ],
)
def test_an_argument_takes_precedence_over_the_environment(
    environ: dict[str, str], arguments: list[str], host: str
) -> None:
    assert _parse(*arguments, environ=environ).kubelet.url == f"https://{host}:10250"


def test_of_all_nodes_none_is_the_proxys_own() -> None:
    settings = _parse("--all-nodes", "--node-port", "1", environ={"NODE_IP": "10.0.0.7"})

    assert settings.serves_all_nodes
    assert settings.kubelet.url == ""
    assert settings.kubelet.of_node("w", "10.0.0.9").url == "https://10.0.0.9:1"


@pytest.mark.parametrize("name", ["", "-w", "w中", ".", "a/b", "a b", "a%2f", "a?b", "a\nb"])
def test_a_name_that_could_leave_its_place_in_a_path_is_refused(name: str) -> None:
    reason = _refusal("--via-apiserver", f"--node-name={name}")

    assert reason.startswith(f"--via-apiserver: {name!r} is not a node name")


def test_bounds_of_an_answer_are_in_the_units_that_their_names_say() -> None:
    settings = _parse("--max-samples=5", "--max-labels=6", "--max-mib=7", "--remember-mib=8")

    assert settings.text.limits == (5, 6, 8 << 20, 7 << 20)
    assert settings.cached_bytes == 8 << 20


@pytest.mark.parametrize("flag", ["--max-samples", "--max-labels", "--max-mib", "--remember-mib"])
@pytest.mark.parametrize("count", ["0", "-1", "", "1.5", "x", "1_0", "٥", "1" * 10])
def test_a_bound_is_a_count(flag: str, count: str) -> None:
    assert "is not an integer from 1 to 999999999" in _refusal(f"{flag}={count}")


@pytest.mark.parametrize("flag", ["--port", "-metrics-port", "--admin-port", "-node-port"])
@pytest.mark.parametrize("port", ["-1", "65536", "", "http", "٥"])
def test_a_port_is_one_of_tcp(flag: str, port: str) -> None:
    assert f"{port!r} is not a port from 0 to 65535" in _refusal(f"{flag}={port}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port=9", "--admin-port=9"], "--port and --admin-port are both 9"),
        (["--port=9", "-health-probe-bind-address=:9"], "--port and --admin-port are both 9"),
        (["-metrics-secure", "-metrics-cert-path=/c", "--port=8443"], "port 8443 is already used"),
    ],
)
def test_two_servers_on_one_port_are_refused(arguments: list[str], reason: str) -> None:
    assert reason in _refusal(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port=0", "--admin-port=0"],
        ["--port=8443"],
        ["--port=0", "-metrics-secure", "-metrics-cert-path=/c", "-metrics-bind-address=:0"],
    ],
)
def test_ports_that_are_not_used_or_chosen_by_the_system_do_not_collide(
    arguments: list[str],
) -> None:
    assert _parse(*arguments).port == int(arguments[0].partition("=")[2])


@pytest.mark.parametrize(
    ("arguments", "pair"),
    [
        (["-metrics-secure=true", "-metrics-cert-path=/c"], ("/c/tls.crt", "/c/tls.key")),
        (["-metrics-secure=T", "-metrics-cert-path=/c", "-metrics-cert-name=x"],
         ("/c/x", "/c/tls.key")),
        (["-metrics-secure=0", "-metrics-cert-path=/c"], None),
        (["-metrics-cert-path=/c"], None),
        (["-metrics-secure", "-metrics-cert-path=/c", "-metrics-bind-address=0"], None),
    ],
)  # fmt: skip
def test_the_admin_port_has_a_certificate_where_it_is_switched_on(
    arguments: list[str], pair: tuple[str, str] | None
) -> None:
    expected = None if pair is None else (Path(pair[0]), Path(pair[1]))

    assert _parse(*arguments).admin_certificate == expected


@pytest.mark.parametrize("address", ["", "0"])
def test_an_address_that_is_off_changes_no_port(address: str) -> None:
    settings = _parse(f"-health-probe-bind-address={address}", f"-metrics-bind-address={address}")

    assert (settings.admin_port, settings.secure_admin_port) == (8081, 8443)


def test_arguments_of_discovery_switch_it_on() -> None:
    assert _parse("--discovery").discovers
    settings = _parse("--discovery-config", "/a.yaml")
    assert (settings.discovers, settings.discovery_file) == (True, Path("/a.yaml"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--pod-label=a", "--pod-label=b"], PodLabels(("a", "b"), (), False)),
        (["--pod-annotation=*"], PodLabels((), ("*",), False)),
        (["--complete-cgroups"], PodLabels((), (), True)),
    ],
)
def test_pods_are_asked_for_where_something_of_theirs_is_wanted(
    arguments: list[str], wanted: PodLabels
) -> None:
    assert _parse(*arguments).text.pod_labels == wanted


def test_named_accounts_may_scrape_beside_those_who_may_get_metrics() -> None:
    allowed = ["--allow-account=a/b", "--allow-account=c/d"]

    assert _parse("--auth=token", environ=_CONTROL).accounts == frozenset()
    assert _parse("--auth=token", *allowed, environ=_CONTROL).accounts == frozenset(["a/b", "c/d"])
    implied = parse_node_settings(["--role", "node", *allowed], _CONTROL)
    assert implied.accounts == frozenset(["a/b", "c/d"])


def test_who_may_scrape_must_be_said() -> None:
    with pytest.raises(SettingsError, match="--auth is required: token, or none, with which"):
        parse_node_settings(["--role", "node"], {})


@pytest.mark.parametrize("abbreviated", ["--max-sample=5", "--via-api", "-kubelet-url=x"])
def test_no_argument_is_taken_for_another(abbreviated: str) -> None:
    assert "unrecognized arguments" in _refusal(abbreviated)


def test_flags_that_need_nothing_are_said_once_each() -> None:
    notes = _parse("-enable-http2", "--enable-http2=false", "-max-concurrency=5").notes

    assert [note.partition(":")[0] for note in notes] == [
        "--enable-http2 has no effect", "--max-concurrency has no effect",
    ]  # fmt: skip
