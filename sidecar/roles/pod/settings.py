"""Settings of the pod role, from arguments and the environment that the injector sets.

An invalid value becomes a fault, which is returned to scrapers. It never ends the process: a
sidecar that is not running makes its pod unready.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.settings import ControlSettings, read_control
from sidecar.errors import SettingsError, TargetError
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.formats import Format, parse_protocol
from sidecar.model.exposition.limits import LIMITS
from sidecar.model.passed_headers import parse_passed_headers
from sidecar.model.targets import MAX_TARGETS, Target, parse_target
from sidecar.process.arguments import Parser, read_port
from sidecar.process.logs import LEVELS
from sidecar.scrape.settings import ScrapeLimits

DEFAULT_PORT = 16090
DEFAULT_ADMIN_PORT = 16091
DEFAULT_TARGET_LABEL = "container"

EXAMPLES = """examples:
  livery-proxy --role pod --target http://127.0.0.1:8080/metrics
      serve the application's metrics, unchanged, on port 16090
  livery-proxy --role pod --target http://:8080/metrics --policy policy.yaml
      add labels: policy.yaml holds, for instance, `labels: {team: frontend}`
  livery-proxy --role pod --target app=http://:8080/metrics --target envoy=http://:9901/stats
      merge two endpoints; each series gets container="app" or container="envoy"
"""


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """All settings of one proxy in the pod role."""

    targets: tuple[Target, ...]
    port: int
    admin_port: int
    policy_file: Path | None
    """Policy file to use in place of the control service; reloaded when it changes."""
    control: ControlSettings | None
    bootstrap: Mapping[str, object] | None
    """The policy at the time of injection; None if this proxy was not injected."""
    identity: Identity
    filters: bool
    """Whether to expose only what the namespace's access rules allow."""
    namespace_label: str
    """Series label with the namespace whose labels are added; empty for the pod's namespace."""
    target_label: str
    """Label that distinguishes the series of several targets."""
    passed_headers: tuple[str, ...]
    """Headers of the scraper's request that are passed to targets, in lower case."""
    fallback: Format | None
    """Format of targets with a missing or unsupported Content-Type."""
    limits: ScrapeLimits
    log_level: str
    faults: tuple[str, ...]
    """Invalid settings; if there are any, scrapes get 503 with the first."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line of `livery-proxy --role pod`."""
    parser = Parser.of_role(
        "pod",
        prog="livery-proxy --role pod",
        description="Livery's proxy beside one workload: labels, filters and re-exposes metrics.",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="[NAME=]URL",
        help="endpoint to scrape; repeatable",
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="policy file (YAML or JSON), reloaded when it changes"
    )
    parser.add_argument("--port", default=str(DEFAULT_PORT), help="data port (%(default)s)")
    parser.add_argument("--admin-port", default=str(DEFAULT_ADMIN_PORT), help="(%(default)s)")
    parser.add_argument(
        "--filter",
        choices=["none", "metricaccess"],
        default="none",
        help="expose everything, or what MetricAccess rules allow (%(default)s)",
    )
    parser.add_argument(
        "--namespace-label",
        default="",
        metavar="LABEL",
        help="add the labels of the namespace that this label of each series names",
    )
    parser.add_argument(
        "--target-label",
        default=DEFAULT_TARGET_LABEL,
        metavar="LABEL",
        help="label that distinguishes the series of several targets (%(default)s)",
    )
    parser.add_argument(
        "--targets",
        choices=["named", "guessed"],
        default="named",
        help="guessed: targets are declared ports, not all of which need serve metrics; their "
        "series also carry the port (%(default)s)",
    )
    parser.add_argument(
        "--pass-headers",
        default="",
        metavar="NAMES",
        help="headers of the scraper's request to pass to targets, such as Authorization",
    )
    parser.add_argument(
        "--fallback-protocol",
        default="",
        metavar="NAME",
        help="format of targets with a missing or unsupported Content-Type: PrometheusText0.0.4, …",
    )
    defaults = ScrapeLimits()
    parser.add_argument(
        "--samples-limit",
        default=str(defaults.target.samples),
        metavar="N",
        help="samples of all targets together (%(default)s)",
    )
    parser.add_argument(
        "--labels-limit",
        default=str(defaults.target.labels),
        metavar="N",
        help="non-empty labels of one series (%(default)s)",
    )
    parser.add_argument(
        "--bytes-limit",
        default=str(defaults.target_bytes),
        metavar="BYTES",
        help="bytes of one target's response, decompressed (%(default)s)",
    )
    parser.add_argument(
        "--allow-remote-targets", action="store_true", help="allow targets other than loopback"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def parse_pod_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> PodSettings:
    """Read arguments and environment; errors are collected in `faults`."""
    faults: list[str] = []
    parser = build_parser()
    try:
        given = parser.parse_args(arguments)
    except SettingsError as error:
        faults.append(str(error))
        given = _parse_leniently(arguments)
    if given.port == given.admin_port != "0":
        faults.append(f"--port and --admin-port are both {given.port[:40]}; they must differ")
    return PodSettings(
        targets=_targets(given, faults),
        port=_port("--port", given.port, DEFAULT_PORT, faults),
        admin_port=_port("--admin-port", given.admin_port, DEFAULT_ADMIN_PORT, faults),
        policy_file=Path(given.policy) if given.policy else None,
        control=read_control(environ, "pod"),
        bootstrap=_bootstrap(environ, faults),
        identity=Identity(
            namespace=environ.get("LIVERY_POD_NAMESPACE", ""),
            pod=environ.get("LIVERY_POD_NAME", ""),
            job=environ.get("LIVERY_JOB", ""),
            instance=environ.get("LIVERY_POD_IP", ""),
        ),
        filters=given.filter == "metricaccess",
        namespace_label=given.namespace_label,
        target_label=given.target_label,
        passed_headers=_passed_headers(given, faults),
        fallback=_fallback(given, faults),
        limits=_limits(given, faults),
        log_level=given.log_level,
        faults=tuple(faults),
    )


def _parse_leniently(arguments: Sequence[str]) -> argparse.Namespace:
    """Read only the ports of an invalid command line."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", default=str(DEFAULT_PORT))
    parser.add_argument("--admin-port", default=str(DEFAULT_ADMIN_PORT))
    try:
        known, _ = parser.parse_known_args(arguments)
    except SettingsError:
        known = parser.parse_args([])
    given = build_parser().parse_args(["--role", "pod"])
    given.port, given.admin_port = known.port, known.admin_port
    return given


def _targets(given: argparse.Namespace, faults: list[str]) -> tuple[Target, ...]:
    targets: list[Target] = []
    for text in given.target[:MAX_TARGETS]:
        try:
            target = parse_target(text, allows_remote=given.allow_remote_targets)
            targets.append(target._replace(is_guess=given.targets == "guessed"))
        except TargetError as error:
            faults.append(f"--target: {error}")
    if len(given.target) > MAX_TARGETS:
        faults.append(f"--target: {len(given.target)} targets; at most {MAX_TARGETS} are allowed")
    names = [(target.name or target.port, target.is_guess and target.port) for target in targets]
    if len(set(names)) != len(names):
        faults.append("--target: two targets have the same name; write NAME=URL")
    if not given.target and not faults:
        faults.append("--target: no target is set, so there is nothing to scrape")
    return tuple(targets)


def _passed_headers(given: argparse.Namespace, faults: list[str]) -> tuple[str, ...]:
    try:
        return parse_passed_headers(given.pass_headers)
    except SettingsError as error:
        faults.append(f"--pass-headers: {error}")
        return ()


def _fallback(given: argparse.Namespace, faults: list[str]) -> Format | None:
    try:
        return parse_protocol(given.fallback_protocol) if given.fallback_protocol else None
    except SettingsError as error:
        faults.append(f"--fallback-protocol: {error}")
        return None


def _limits(given: argparse.Namespace, faults: list[str]) -> ScrapeLimits:
    found: dict[str, int] = {}
    for limit in LIMITS:
        text = getattr(given, f"{limit.name}_limit")
        try:
            found[limit.name] = limit.parse(text)
        except SettingsError as error:
            faults.append(f"--{limit.name}-limit: {error}")
    return ScrapeLimits.settable(**found)


def _port(name: str, text: str, default: int, faults: list[str]) -> int:
    port = read_port(text)
    if port is not None:
        return port
    faults.append(f"{name}: {text[:40]!r} is not a port from 0 to 65535; using {default}")
    return default


def _bootstrap(environ: Mapping[str, str], faults: list[str]) -> Mapping[str, object] | None:
    if "LIVERY_NAMESPACE_LABELS" not in environ:
        return None
    pairs = [pair for pair in environ["LIVERY_NAMESPACE_LABELS"].split(",") if pair]
    labels = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    rules: object = {}
    try:
        rules = json.loads(environ.get("LIVERY_LABEL_RULES") or "{}")
    except (ValueError, RecursionError) as error:
        faults.append(f"LIVERY_LABEL_RULES: not JSON: {error}")
    return {
        "namespace": environ.get("LIVERY_POD_NAMESPACE", ""),
        "labels": labels,
        "labelRules": rules,
    }
