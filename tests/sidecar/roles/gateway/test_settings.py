import base64
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.gateway.backends.backend import read_authorization
from sidecar.gateway.limit_settings import AllLimits
from sidecar.gateway.limits import TenantLimits
from sidecar.roles.gateway.settings import build_parser, check_files, parse_gateway_settings

_NEEDED = ["--role=gateway", "--backend=http://p:9090", "--policy=t.yaml", "--users=u.yaml"]


def test_the_usual_settings() -> None:
    settings = parse_gateway_settings(_NEEDED, {})

    assert settings.backends == ("http://p:9090",)
    assert (settings.policy_file, settings.users_file) == (Path("t.yaml"), Path("u.yaml"))
    assert (settings.port, settings.admin_port) == (8080, 8081)
    assert settings.limits == AllLimits(TenantLimits(), {})
    assert not settings.fills_gaps
    assert (settings.namespace_label, settings.timeout_seconds) == ("namespace", 30)


def test_bounds_are_read() -> None:
    given = [
        "--burst=5", "--concurrency=2", "--requests-per-second=0.5", "--response-mib=1",
        "--query-bytes=100", "--range-seconds=86400",
    ]  # fmt: skip
    expected = TenantLimits(0.5, 5, 2, 1 << 20, 100, 86400)

    assert parse_gateway_settings([*_NEEDED, *given], {}).limits.default == expected


def test_bounds_of_tenants_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text('{"tenants": {"shop": {"burst": 7}}}')
    given = [f"--limits={tmp_path / 'limits'}", "--concurrency=2"]

    limits = parse_gateway_settings([*_NEEDED, *given], {}).limits
    assert limits.default == TenantLimits(concurrency=2)
    assert limits.tenants == {"shop": TenantLimits(concurrency=2, burst=7)}


def test_backends_may_ask_for_a_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("pässwört mit Leerzeichen\n")
    given = ["--backend-user=livery", f"--backend-password-file={file}"]

    settings = parse_gateway_settings([*_NEEDED, *given], {})
    assert settings.backend.basic == ("livery", file)
    pair = base64.b64encode("livery:pässwört mit Leerzeichen".encode()).decode()
    assert read_authorization(settings.backend) == f"Basic {pair}"


_CONTROL = {"LIVERY_CONTROL_URL": "https://livery-injector:8444"}


def test_a_control_service_sends_rules_and_knows_callers() -> None:
    settings = parse_gateway_settings(
        ["--role=gateway", "--backend=http://p:9090", "--max-policy-age=60"], _CONTROL
    )

    assert settings.control is not None
    assert settings.control.role == "gateway"
    assert (settings.policy_file, settings.users_file) == (None, None)
    assert settings.max_policy_age_seconds == 60


def test_a_header_is_trusted_from_named_sources_alone() -> None:
    assert parse_gateway_settings(_NEEDED, {}).trusted_header == ""
    given = [item for item in _NEEDED if not item.startswith("--users")]

    settings = parse_gateway_settings([*given, "--trusted-source=10.0.0.0/8"], {})
    assert settings.trusted_header == "x-tenant-namespace"
    assert [str(source) for source in settings.trusted_sources] == ["10.0.0.0/8"]


@pytest.mark.parametrize("missing", ["--backend", "--policy", "--users"])
def test_what_is_missing_is_named(missing: str) -> None:
    given = [argument for argument in _NEEDED if not argument.startswith(missing)]

    with pytest.raises(
        SettingsError, match=rf"^{missing} (or --access |or --trusted-source )?is required"
    ):
        parse_gateway_settings(given, {})


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--backend=p:9090", "is not http://host:port"),
        ("--port=x", "--port: 'x' is not a port"),
        ("--admin-port=8080", "are both 8080"),
        ("--concurrency=0", "--concurrency: '0' is not a number"),
        ("--backend-timeout=nan", "--backend-timeout: 'nan'"),
        ("--tls-key-file=k", "--tls-cert-file and --tls-key-file must be set together"),
        ("--backend-user=a", "--backend-user and --backend-password-file must be set together"),
        ("--range-seconds=0", "--range-seconds: '0' is not a number"),
        ("--limits=none", "none"),
        ("--max-policy-age=-1", "--max-policy-age: '-1' is not a number"),
        ("--trusted-source=mesh", "--trusted-source: 'mesh' is not an address range"),
        ("--access-all-namespaces", "no effect without --access"),
        (
            "--namespace-label=__name__",
            "'__name__' is not a valid label name",
        ),
        ("--requests-per-second=1e-310", "not a number from 0.001 to 1000000"),
        ("--response-mib=1e-9", "--response-mib: '1e-9' is not a number from 0.001"),
        ("--namespace-label=", "--namespace-label: '' is not a valid label name"),
        ("--fill-gaps", "--fill-gaps needs at least two backends"),
        ("--query-bytes=20000", "--query-bytes: '20000' is not a number from 0.001 to 16384"),
        ("--max-concurrent-requests=0.5", "is not an integer from 1"),
        ("--backend=http://p:9090/api/v1", "leave out /api/v1"),
        ("--trusted-header=X-Tenant", "no effect without --trusted-source"),
        ("--trusted-header=a b", "--trusted-header: 'a b' is not a header name"),
    ],
)
def test_a_mistake_is_named(argument: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_gateway_settings([*_NEEDED, argument], {})


def test_help_has_examples() -> None:
    assert "--backend http://prometheus:9090" in build_parser().format_help()


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--backend-token-file=none", "--backend-token-file: the token: cannot read none"),
        ("--backend-ca-file=none", "--backend-ca-file: there is no file 'none'"),
    ],
)
def test_a_file_that_is_not_there_is_named(argument: str, reason: str) -> None:
    settings = parse_gateway_settings([*_NEEDED, argument], {})

    with pytest.raises(SettingsError, match=reason):
        check_files(settings.backend)
