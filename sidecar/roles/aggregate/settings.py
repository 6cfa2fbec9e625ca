"""Settings of the aggregate role, from arguments and environment."""

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
"""If set without `--role`, the proxy runs this role, compatible with metrics-k8s-proxy."""
COMPATIBLE = "metrics-k8s-proxy"

EXAMPLES = """examples:
  livery-proxy --role aggregate -l app=web
      with a kubeconfig: serve metrics of the pods in the context's namespace on port 15090
  livery-proxy --role aggregate -l app=web --once
      print them once and exit
  livery-proxy --role aggregate -A -l 'app in (web,api),!canary'
      pods of all namespaces
  livery-proxy --role aggregate -l app=web --policy policy.yaml
      add labels: policy.yaml holds, for instance, `namespaces: {shop: {team: frontend}}`
  POD_LABEL_SELECTOR=app=web livery-proxy
      like metrics-k8s-proxy: all namespaces, labels k8s_namespace and k8s_pod_name
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
    """Namespaces of the pods; empty for the proxy's own."""
    all_namespaces: bool
    pods_from: PodsFrom
    kubeconfig: str
    """Kubeconfig file; empty for $KUBECONFIG, the pod's service account or ~/.kube/config."""
    context: str
    """Context of the kubeconfig; empty for its current one."""
    wants_labels: bool
    """Whether namespace labels are also read from the API server."""
    policy_file: Path | None
    control: ControlSettings | None
    port: int
    admin_port: int
    timeout_seconds: float | None
    """Maximum duration of a scrape; None to use the scraper's timeout."""
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
        description="Livery's proxy for many pods: serves their metrics as one exposition.",
        examples=EXAMPLES,
    )
    _add_pods(parser.add_argument_group("pods"))
    _add_names(parser.add_argument_group("labels and names"))
    _add_limits(parser.add_argument_group("limits"))
    parser.add_argument(
        "--policy", metavar="FILE", help="policy file (YAML or JSON), reloaded when it changes"
    )
    parser.add_argument("--port", help=f"data port (default: $PORT, else {DEFAULT_PORT})")
    parser.add_argument(
        "--admin-port",
        help=f"port of health, metrics and /targets (default: data port + 1, {DEFAULT_ADMIN_PORT})",
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        help="maximum duration of a scrape, such as 9s (default: $SCRAPE_TIMEOUT, else the "
        "scraper's timeout, or 9s)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="print one exposition and exit: 0 if it was printed, 1 if pods could not be listed, 2 "
        "if no pod can be scraped or an argument is invalid",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(%(default)s)")
    return parser


def _add_pods(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-l", "--pod-label-selector", "--selector", dest="pod_label_selector", metavar="SELECTOR",
        help="like kubectl's -l: app=web, 'tier in (a,b)', '!old', '*' for all (default: "
        "$POD_LABEL_SELECTOR)",
    )  # fmt: skip
    add(
        "-n", "--namespace", action="append", default=[], metavar="NAME",
        help="namespace of the pods; repeatable (default: the proxy's own namespace, or that of "
        "the kubeconfig's context)",
    )  # fmt: skip
    add("-A", "--all-namespaces", action="store_true", help="pods of all namespaces")
    add(
        "--pods", choices=list(PodsFrom),
        help="source of the pod list. control: the injector; kubernetes: the API server (default: "
        "control if LIVERY_CONTROL_URL is set)",
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
        help="with --pods kubernetes: also put namespace labels on series",
    )  # fmt: skip
    add(
        "--allow-local-addresses", action="store_true",
        help="allow pods with loopback or link-local addresses, for tests on one machine",
    )  # fmt: skip


def _add_names(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    default = PodsSettings()
    for flag, value, text in (
        ("namespace-label", default.namespace_label, "label for a series' namespace"),
        ("pod-label", default.pod_label, "label for a series' pod"),
        ("target-label", default.target_label, "label that distinguishes targets of one pod"),
    ):
        add(f"--{flag}", metavar="LABEL", help=f"{text} ({value})")
    add(
        "--up-name",
        metavar="METRIC",
        help=f"metric that shows whether each pod is up ({default.up_name})",
    )
    add(
        "--on-conflict", choices=list(OnConflict), default=str(OnConflict.EXPORTED),
        help="handling of a pod's own label that has the name of an added one; "
        + "; ".join(f"{item}: {item.sentence}" for item in OnConflict),
    )  # fmt: skip
    add(
        "--compatible-with", choices=[COMPATIBLE],
        help="use all namespaces and labels k8s_namespace and k8s_pod_name, keep other labels",
    )  # fmt: skip


def _add_limits(group: argparse._ArgumentGroup) -> None:
    limits = PodsLimits()
    for limit in LIMITS:
        unit = "BYTES" if limit.name == "bytes" else "N"
        text = {
            "samples": "samples of one target",
            "labels": "non-empty labels of one series",
            "bytes": "bytes of one target's response, decompressed",
        }[limit.name]
        group.add_argument(f"--{limit.name}-limit", metavar=unit, help=f"{text} ({limit.default})")
    group.add_argument(
        "--total-samples-limit", metavar="N",
        help=f"samples of all targets together ({limits.samples})",
    )  # fmt: skip
    group.add_argument(
        "--concurrency", metavar="N", help=f"targets scraped at once ({limits.concurrency})"
    )


def parse_aggregate_settings(
    arguments: Sequence[str], environ: Mapping[str, str]
) -> AggregateSettings:
    """Read arguments and environment.

    Raises:
        SettingsError: a setting is invalid; the message names it.
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
        raise SettingsError(f"--port and --admin-port are both {port}; they must differ")
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
                f"--namespace: {name[:80]!r} is not a namespace name; use -A for all namespaces, "
                "or repeat -n for several"
            )
    if given.namespace and all_namespaces:
        raise SettingsError("--namespace must not be set with --all-namespaces")
    if pods_from is PodsFrom.KUBERNETES:
        if given.read_namespace_labels and given.policy:
            raise SettingsError(
                "--read-namespace-labels must not be set with --policy, which contains the labels"
            )
        return
    if control is None:
        raise SettingsError("--pods control needs a control service: set LIVERY_CONTROL_URL")
    for flag in ("kubeconfig", "context", "read_namespace_labels", "policy"):
        if getattr(given, flag):
            name = flag.replace("_", "-")
            raise SettingsError(f"--{name} has no effect with --pods control; remove one of them")


def _selector(given: argparse.Namespace, environ: Mapping[str, str]) -> LabelSelector:
    name = "--pod-label-selector"
    text = given.pod_label_selector
    if text is None:
        name, text = SELECTOR_VARIABLE, environ.get(SELECTOR_VARIABLE, "")
    if not text.strip():
        raise SettingsError(
            f"{name}: a label selector is required, such as app=web; '*' selects every pod that "
            "opts in to scraping"
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
        raise SettingsError(f"{name}: {text[:40]!r} is not a duration from 10ms to 10m, such as 9s")
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
        raise SettingsError(
            f"the label name {taken.pop()!r} is reserved by Prometheus; choose another one"
        )
    if names.up_name in _OWN_METRICS:
        raise SettingsError(f"--up-name: {names.up_name!r} is already a metric of the aggregate")
    if len({*names.identity, names.target_label, "port"}) < 4:
        raise SettingsError(
            "--namespace-label, --pod-label and --target-label must differ, also from `port`"
        )
    return names


def _name(flag: str, text: str | None, default: str, *, is_metric: bool = False) -> str:
    if text is None:
        return default
    is_good = is_plain_metric_name if is_metric else is_plain_label_name
    if not is_good(text.encode(errors="replace")) or text.startswith("__"):
        kind = "metric" if is_metric else "label"
        raise SettingsError(f"{flag}: {text[:60]!r} is not a valid {kind} name")
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
    raise SettingsError(f"{text[:40]!r} is not an integer from 1 to 999999999")


def _port(flag: str, text: str, default: int) -> int:
    if not text:
        return default
    port = read_port(text)
    if port is None:
        raise SettingsError(f"{flag}: {text[:40]!r} is not a port from 0 to 65535")
    return port
