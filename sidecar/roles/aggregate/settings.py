"""What the aggregate role was started with."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.settings import ControlSettings, read_control
from sidecar.errors import SettingsError
from sidecar.model.described import Described
from sidecar.model.exposition.limits import LIMITS
from sidecar.model.exposition.names import is_plain_label_name, is_plain_metric_name
from sidecar.model.pods.durations import parse_duration
from sidecar.model.pods.label_selector import LabelSelector, parse_label_selector
from sidecar.process.arguments import Parser, read_port
from sidecar.process.logs import LEVELS
from sidecar.scrape.pods.answer import POD_METRICS, TARGETS_METRIC
from sidecar.scrape.pods.settings import OnConflict, PodsLimits, PodsSettings

DEFAULT_PORT = 15090
DEFAULT_ADMIN_PORT = 15091
MAX_TIMEOUT_SECONDS = 600.0
SELECTOR_VARIABLE = "POD_LABEL_SELECTOR"
"""Set without a role, it chooses this role, as metrics-k8s-proxy understands it."""
COMPATIBLE = "metrics-k8s-proxy"

EXAMPLES = """examples:
  livery-proxy --role aggregate -l app=web
      with a kubeconfig: metrics of the context's namespace's pods, on port 15090
  livery-proxy --role aggregate -l app=web --once
      print them once and exit
  livery-proxy --role aggregate -A -l 'app in (web,api),!canary'
      pods of all namespaces
  livery-proxy --role aggregate -l app=web --policy policy.yaml
      with labels: policy.yaml holds, for instance, `namespaces: {shop: {team: frontend}}`
  POD_LABEL_SELECTOR=app=web livery-proxy
      as metrics-k8s-proxy: all namespaces, labels k8s_namespace and k8s_pod_name
"""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


_READ_LABELS = frozenset(["le", "quantile"])
_OWN_METRICS = frozenset([*list(POD_METRICS)[1:], TARGETS_METRIC])


class PodsFrom(Described):
    """Where the list of pods comes from."""

    CONTROL = "control", "the injector's control service sends them"
    KUBERNETES = "kubernetes", "this proxy lists and watches them at the API server"


@dataclass(frozen=True, kw_only=True)
class AggregateSettings:
    """All settings of one aggregate."""

    selector: LabelSelector
    namespaces: tuple[str, ...]
    """Whose pods; none for the own one."""
    all_namespaces: bool
    pods_from: PodsFrom
    kubeconfig: str
    """A file; empty for what KUBECONFIG and the home directory say."""
    context: str
    """Of the kubeconfig; empty for the current one."""
    wants_labels: bool
    """Whether namespaces' labels are read at the API server, too."""
    policy_file: Path | None
    control: ControlSettings | None
    port: int
    admin_port: int
    timeout_seconds: float | None
    """The most that a scrape may take; None for what the scraper says."""
    names: PodsSettings
    limits: PodsLimits
    allows_local: bool
    once: bool
    log_level: str


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line of `livery-proxy --role aggregate`."""
    parser = Parser.of_role(
        "aggregate",
        prog="livery-proxy --role aggregate",
        description="Livery's proxy for many pods: their metrics as one exposition.",
        examples=EXAMPLES,
    )
    _add_pods(parser.add_argument_group("pods"))
    _add_names(parser.add_argument_group("labels and names"))
    _add_limits(parser.add_argument_group("bounds"))
    parser.add_argument("--policy", metavar="FILE", help="a policy file (YAML or JSON), watched")
    parser.add_argument("--port", help=f"data port; $PORT by default ({DEFAULT_PORT})")
    parser.add_argument(
        "--admin-port",
        help=f"health, metrics and /targets (the data port + 1: {DEFAULT_ADMIN_PORT})",
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        help="the most that a scrape may take, as 9s; $SCRAPE_TIMEOUT by default, else what the "
        "scraper says, or 9s",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="print one exposition and exit: 0 if it was printed, 1 if pods could not be listed, 2 "
        "if no pod can be scraped or an argument is wrong",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def _add_pods(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-l", "--pod-label-selector", "--selector", dest="pod_label_selector", metavar="SELECTOR",
        help="as kubectl's -l: app=web, 'tier in (a,b)', '!old', '*' for all (default: "
        "$POD_LABEL_SELECTOR)",
    )  # fmt: skip
    add(
        "-n", "--namespace", action="append", default=[], metavar="NAME",
        help="whose pods; may be given several times (default: the proxy's own namespace, or that "
        "of the kubeconfig's context)",
    )  # fmt: skip
    add("-A", "--all-namespaces", action="store_true", help="pods of all namespaces")
    add(
        "--pods", choices=list(PodsFrom),
        help="control: sent by the injector; kubernetes: watched at the API server (control where "
        "LIVERY_CONTROL_URL is set)",
    )  # fmt: skip
    add(
        "--kubeconfig", default="", metavar="FILE",
        help="how to reach the API server (default: $KUBECONFIG, else the pod's service account, "
        "else ~/.kube/config)",
    )  # fmt: skip
    add(
        "--context", default="", metavar="NAME",
        help="the kubeconfig's context to use (default: its current one)",
    )  # fmt: skip
    add(
        "--read-namespace-labels", action="store_true",
        help="with --pods kubernetes: put namespaces' labels on series, too",
    )  # fmt: skip
    add(
        "--allow-local-addresses", action="store_true",
        help="pods may have loopback and link-local addresses, as in a test on one machine",
    )  # fmt: skip


def _add_names(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    default = PodsSettings()
    for flag, value, text in (
        ("namespace-label", default.namespace_label, "names a series' namespace"),
        ("pod-label", default.pod_label, "names its pod"),
        ("target-label", default.target_label, "distinguishes several targets of one pod"),
    ):
        add(f"--{flag}", metavar="LABEL", help=f"{text} ({value})")
    add(
        "--up-name", metavar="METRIC", help=f"says of each pod whether it is up ({default.up_name})"
    )
    add(
        "--on-conflict", choices=list(OnConflict), default=str(OnConflict.EXPORTED),
        help="what becomes of a pod's own label that has one of our names; "
        + "; ".join(f"{item}: {item.sentence}" for item in OnConflict),
    )  # fmt: skip
    add(
        "--compatible-with", choices=[COMPATIBLE],
        help="all namespaces, labels k8s_namespace and k8s_pod_name, other labels stay",
    )  # fmt: skip


def _add_limits(group: argparse._ArgumentGroup) -> None:
    limits = PodsLimits()
    for limit in LIMITS:
        unit = "BYTES" if limit.name == "bytes" else "N"
        text = {
            "samples": "samples of one target",
            "labels": "labels of one series that are not empty",
            "bytes": "bytes of one target's response, decompressed",
        }[limit.name]
        group.add_argument(f"--{limit.name}-limit", metavar=unit, help=f"{text} ({limit.default})")
    group.add_argument(
        "--total-samples-limit", metavar="N",
        help=f"samples of all targets together ({limits.samples})",
    )  # fmt: skip
    group.add_argument(
        "--concurrency", metavar="N", help=f"targets that are asked at once ({limits.concurrency})"
    )


def parse_aggregate_settings(
    arguments: Sequence[str], environ: Mapping[str, str]
) -> AggregateSettings:
    """Read arguments and environment.

    Raises:
        SettingsError: something is wrong; names it.
    """
    given = build_parser().parse_args(arguments)
    control = read_control(environ, "aggregate")
    usual = PodsFrom.CONTROL if control else PodsFrom.KUBERNETES
    pods_from = next((item for item in PodsFrom if item == given.pods), usual)
    is_compatible = given.compatible_with == COMPATIBLE
    all_namespaces = given.all_namespaces or (is_compatible and not given.namespace)
    _check(given, pods_from, control, all_namespaces=all_namespaces)
    port_name = "--port" if given.port else "PORT"
    port = _port(port_name, given.port or environ.get("PORT", ""), DEFAULT_PORT)
    admin_port = _port("--admin-port", given.admin_port or "", _beside(port))
    if port == admin_port != 0:
        raise SettingsError(f"--port and --admin-port are both {port}; two ports are needed")
    return AggregateSettings(
        selector=_selector(given, environ),
        namespaces=tuple(dict.fromkeys(given.namespace)),
        all_namespaces=all_namespaces,
        pods_from=pods_from,
        kubeconfig=given.kubeconfig,
        context=given.context,
        wants_labels=given.read_namespace_labels,
        policy_file=Path(given.policy) if given.policy else None,
        control=control if pods_from is PodsFrom.CONTROL else None,
        port=port,
        admin_port=admin_port,
        timeout_seconds=_timeout(given, environ),
        names=_names(given, is_compatible=is_compatible),
        limits=_limits(given),
        allows_local=given.allow_local_addresses,
        once=given.once,
        log_level=given.log_level,
    )


def _beside(port: int) -> int:
    return port + 1 if port not in (0, 65535) else DEFAULT_ADMIN_PORT


def _check(
    given: argparse.Namespace,
    pods_from: PodsFrom,
    control: ControlSettings | None,
    *,
    all_namespaces: bool,
) -> None:
    for name in given.namespace:
        if _NAMESPACE.fullmatch(name) is None:
            raise SettingsError(
                f"--namespace: {name[:80]!r} is not a namespace's name; -A stands for all, and "
                "several are given by several -n"
            )
    if given.namespace and all_namespaces:
        raise SettingsError("--namespace must not be given with --all-namespaces")
    if pods_from is PodsFrom.KUBERNETES:
        if given.read_namespace_labels and given.policy:
            raise SettingsError(
                "--read-namespace-labels must not be given with --policy, which has labels itself"
            )
        return
    if control is None:
        raise SettingsError("--pods control needs a control service (LIVERY_CONTROL_URL)")
    for flag in ("kubeconfig", "context", "read_namespace_labels", "policy"):
        if getattr(given, flag):
            name = flag.replace("_", "-")
            raise SettingsError(
                f"--{name} has no effect with --pods control; leave one of them out"
            )


def _selector(given: argparse.Namespace, environ: Mapping[str, str]) -> LabelSelector:
    name = "--pod-label-selector"
    text = given.pod_label_selector
    if text is None:
        name, text = SELECTOR_VARIABLE, environ.get(SELECTOR_VARIABLE, "")
    if not text.strip():
        raise SettingsError(
            f"{name}: a label selector is needed, as app=web; '*' takes every pod that asks to be "
            "scraped"
        )
    if text.strip() == "*":
        return parse_label_selector("")
    try:
        return parse_label_selector(text)
    except SettingsError as error:
        raise SettingsError(f"{name}={text[:200]!r}: {error}") from error


def _timeout(given: argparse.Namespace, environ: Mapping[str, str]) -> float | None:
    name, text = "--timeout", given.timeout
    if text is None:
        name, text = "SCRAPE_TIMEOUT", environ.get("SCRAPE_TIMEOUT", "")
        if not text:
            return None
    seconds = parse_duration(text.strip())
    if seconds is None or not 0.01 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise SettingsError(f"{name}: {text[:40]!r} is not a duration from 10ms to 10m, as 9s")
    return seconds


def _names(given: argparse.Namespace, *, is_compatible: bool) -> PodsSettings:
    default = PodsSettings()
    if is_compatible:
        default = default._replace(
            namespace_label="k8s_namespace",
            pod_label="k8s_pod_name",
            moved=frozenset(["job", "instance"]),
        )
    names = default._replace(
        namespace_label=_name("--namespace-label", given.namespace_label, default.namespace_label),
        pod_label=_name("--pod-label", given.pod_label, default.pod_label),
        target_label=_name("--target-label", given.target_label, default.target_label),
        up_name=_name("--up-name", given.up_name, default.up_name, is_metric=True),
        on_conflict=next(item for item in OnConflict if item == given.on_conflict),
    )
    taken = {*names.identity, names.target_label} & _READ_LABELS
    if taken:
        raise SettingsError(f"the label {taken.pop()!r} has a meaning of its own in histograms")
    if names.up_name in _OWN_METRICS:
        raise SettingsError(f"--up-name: {names.up_name!r} is another metric of the aggregate's")
    if len({*names.identity, names.target_label, "port"}) < 4:
        raise SettingsError(
            "--namespace-label, --pod-label and --target-label must differ, and none be `port`"
        )
    return names


def _name(flag: str, text: str | None, default: str, *, is_metric: bool = False) -> str:
    if text is None:
        return default
    is_good = is_plain_metric_name if is_metric else is_plain_label_name
    if not is_good(text.encode(errors="replace")) or text.startswith("__"):
        kind = "a metric" if is_metric else "a label"
        raise SettingsError(f"{flag}: {text[:60]!r} is not the name of {kind}")
    return text


def _limits(given: argparse.Namespace) -> PodsLimits:
    default = PodsLimits()
    found: dict[str, int] = {}
    for limit in LIMITS:
        text = getattr(given, f"{limit.name}_limit")
        found[limit.name] = limit.default
        if text is not None:
            found[limit.name] = _read(f"--{limit.name}-limit", text, limit.parse)
    target = default.target._replace(samples=found["samples"], labels=found["labels"])
    return default._replace(
        target=target,
        target_bytes=found["bytes"],
        waiting_bytes=max(default.waiting_bytes, 2 * found["bytes"]),
        samples=_read("--total-samples-limit", given.total_samples_limit, _count, default.samples),
        concurrency=_read("--concurrency", given.concurrency, _count, default.concurrency),
    )


def _read(flag: str, text: str | None, parse: Callable[[str], int], default: int = 0) -> int:
    if text is None:
        return default
    try:
        return parse(text)
    except SettingsError as error:
        raise SettingsError(f"{flag}: {error}") from error


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0:
        return int(text)
    raise SettingsError(f"{text[:40]!r} is not a number from 1 to 999999999")


def _port(flag: str, text: str, default: int) -> int:
    if not text:
        return default
    port = read_port(text)
    if port is None:
        raise SettingsError(f"{flag}: {text[:40]!r} is not a port from 0 to 65535")
    return port
