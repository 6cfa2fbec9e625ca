"""`livery explain`: why something is as it is. Here pods: why one gets a proxy or not."""

import argparse
import json
import sys
from collections.abc import Collection, Iterator
from typing import Any

from injector.commands import explain_access, explain_query
from injector.commands.colours import BOLD, GREEN, YELLOW, paint
from injector.commands.inputs import (
    Offline,
    add_input_arguments,
    add_namespace,
    check_namespaces,
    learn,
    placed,
    read_all,
    read_offline,
)
from injector.commands.workloads import decide_offline, describe_object, find_pod
from injector.errors import SettingsError
from injector.model.admission.decide import Decision
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason, WarningCode
from injector.model.admission.troubles import find_data_port, find_proxy, is_drifted, mend_drift
from injector.model.cluster.names import INJECT, PROXY_CONTAINER
from injector.model.cluster.objects import Object, name_of, namespace_of
from sidecar.model.labels.namespace_labels import derive_labels

EXAMPLES = """examples:
  livery explain pod web-0 -n shop
      a pod of the cluster that KUBECONFIG names: its proxy, or why it has none
  livery explain pod -f pod.yaml --patch
      a manifest, and what would be written into it
  livery explain pod -f pod.yaml --namespace-label team=frontend
      the same in a namespace with this label
  livery explain query -n shop 'sum(rate(http_requests_total[5m]))'
  livery explain access -n shop

exit codes: 0 explained, 1 no pod in the files or a malformed one, 2 a wrong call
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="say why something is as it is",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="what", required=True, metavar="pod|query|access")
    pod = kinds.add_parser(
        "pod",
        help="why a pod gets a proxy or not",
        description="Say why pods get a proxy or not: those of the cluster, or of manifests.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pod.add_argument("name", nargs="?", metavar="NAME", help="of a pod of the cluster")
    add_input_arguments(pod)
    pod.add_argument(
        "--patch", action="store_true", help="show what would be written into the pod, too"
    )
    pod.set_defaults(run=run)
    explain_query.add_parser(kinds)
    explain_access.add_parser(kinds)


def run(given: argparse.Namespace) -> int:
    """Explain every pod that was named."""
    if given.name is not None:
        return _run_live(given)
    offline = read_offline(given)
    manifests = read_all(given.filename)
    check_namespaces(manifests, given.namespace)
    learn(offline, manifests)
    known = {name_of(item.obj) for item in manifests if item.obj.get("kind") == "Namespace"}
    known = {name_of(item.obj) for item in manifests if item.obj.get("kind") == "Namespace"}
    reasons = []
    for manifest in manifests:
        with placed(manifest):
            reasons.append(_explain(manifest.obj, offline, given, known))
    if not any(reasons):
        kinds = ", ".join(sorted({str(manifest.obj.get("kind")) for manifest in manifests}))
        print(f"livery: there is no pod and no pod template here, only {kinds}", file=sys.stderr)
        return 1
    return 1 if Reason.MALFORMED in reasons else 0


def _run_live(given: argparse.Namespace) -> int:
    """Explain a pod of the cluster."""
    if given.filename:
        raise SettingsError("a pod is named, or files are with -f: not both")
    given.from_cluster = True
    offline = read_offline(given)
    pod = offline.read_pod(offline.namespace, given.name)
    if pod is None:
        raise SettingsError(f"there is no pod {given.name} in namespace {offline.namespace}")
    proxy = find_proxy(pod)
    if proxy is None:
        return 1 if _explain(pod, offline, given) is Reason.MALFORMED else 0
    print(paint(describe_object(pod, offline.namespace), BOLD))
    for line in _of_proxy(pod, proxy, offline):
        print(f"  {line}")
    return 0


def _of_proxy(pod: dict[str, Any], proxy: Object, offline: Offline) -> Iterator[str]:
    """Say how the proxy of a running pod does."""
    yield f"{paint('has a proxy', GREEN)}: {proxy.get('image')}, metrics on {find_data_port(pod)}"
    state = _why_not_running(pod)
    if state:
        yield f"{paint('it does not run', YELLOW)}: {state}"
    if is_drifted(pod, offline.platform.mesh):
        drifted = "its annotations lead Prometheus past the proxy"
        yield f"{paint(drifted, YELLOW)}; put them right with"
        yield f"    {mend_drift(pod)}"
    yield "livery doctor says more about running proxies"


def _why_not_running(pod: Object) -> str:
    status = pod.get("status") or {}
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = one.get("state") or {}
        if one.get("name") == PROXY_CONTAINER and "running" not in state:
            return str(next((item.get("reason", "") for item in state.values()), "")) or "pending"
    return ""


def _explain(
    obj: dict[str, Any],
    offline: Offline,
    given: argparse.Namespace,
    known: Collection[str] = (),
) -> Reason | None:
    """Explain an object with a pod; returns None where it has none.

    Args:
        obj: the object.
        offline: by which settings.
        given: the command's arguments.
        known: namespaces whose labels are known, where no cluster is asked.
    """
    pod = find_pod(obj)
    if pod is None:
        return None
    namespace = namespace_of(obj) or offline.namespace
    is_known = offline.is_from_cluster or namespace in known
    add_namespace(offline, namespace, given.namespace_label)
    decision = decide_offline(obj, offline)
    if decision is None:
        return None
    print(paint(describe_object(obj, offline.namespace), BOLD))
    labelled = offline.cluster.namespace(namespace)
    is_labelled = not is_known or (labelled is not None and labelled.is_labelled)
    for line in _verdict(decision, offline, namespace, is_labelled=is_labelled):
        print(f"  {line}")
    for line in _plan(decision, offline):
        print(f"  {line}")
    if not is_known:
        print(f"  assumed: namespace {namespace} has the label {INJECT}=enabled")
    if given.patch:
        _print_patch(pod, decision, offline)
    return decision.reason


def _verdict(
    decision: Decision, offline: Offline, namespace: str, *, is_labelled: bool
) -> Iterator[str]:
    """Say what becomes of the pod: the namespace's label counts before anything of the pod."""
    is_injected = decision.reason is Reason.INJECTED
    verdict = paint("injected", GREEN) if is_injected else paint("left alone", YELLOW)
    said = f"{verdict} ({decision.reason}): {decision.sentence}"
    if is_labelled:
        yield said
    else:
        lacks = paint("would not be injected", YELLOW)
        yield f"{lacks}: namespace {namespace} lacks {INJECT}=enabled"
        yield f"    kubectl label namespace {namespace} {INJECT}=enabled"
        yield f"with that label: {said}"
    for warning in decision.warnings:
        yield f"warning ({warning.code}): {warning.text}{_doubt(warning.code, offline)}"


def _print_patch(pod: dict[str, Any], decision: Decision, offline: Offline) -> None:
    for operation in patch(pod, decision, offline.platform, offline.ca_bundle):
        print(f"  {operation['op']:8}{operation['path']}")
        if "value" in operation:
            print(_indent(json.dumps(operation["value"], indent=2, ensure_ascii=False)))


def _doubt(code: WarningCode, offline: Offline) -> str:
    """Say where a command on files cannot know better."""
    if code is WarningCode.NAME_TAKEN and not offline.is_from_cluster:
        return f", unless Livery's image is not {offline.platform.image}: --from-cluster knows"
    return ""


def _indent(text: str) -> str:
    return "\n".join(f"          {line}" for line in text.splitlines())


def _plan(decision: Decision, offline: Offline) -> list[str]:
    proxy = decision.proxy
    if proxy is None:
        return []
    labels = derive_labels(proxy.namespace_labels, offline.platform.labels)
    worn = ", ".join(f'{name}="{value}"' for name, value in labels.items()) or "none yet"
    kind = "native sidecar" if proxy.is_native else "ordinary container"
    return [
        f"proxy: {kind}, metrics on port {proxy.port}, admin on {proxy.admin_port}",
        *(f"target: {target}" for target in proxy.targets),
        f"labels at its start: {worn}",
    ]
