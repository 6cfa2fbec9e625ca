"""`livery explain`: why something is as it is. Here pods: why one gets a proxy or not."""

import argparse
import json
import sys
from typing import Any

from injector.commands import explain_access, explain_query
from injector.commands.colours import BOLD, GREEN, YELLOW, paint
from injector.commands.inputs import (
    Offline,
    add_input_arguments,
    add_namespace,
    learn,
    placed,
    read_all,
    read_offline,
)
from injector.commands.workloads import decide_offline, describe_object, find_pod
from injector.model.admission.decide import Decision
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason, WarningCode
from injector.model.cluster.names import INJECT
from injector.model.cluster.objects import namespace_of
from sidecar.model.labels.namespace_labels import derive_labels

EXAMPLES = """examples:
  livery explain pod -f pod.yaml
  kubectl get pod web-0 -o yaml | livery explain pod --from-cluster -f -
  kubectl get pod web-0 -o yaml | livery explain pod -f - --namespace-label team=frontend
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
        description="Say why pods get a proxy or not, and what would be written.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_input_arguments(pod)
    pod.set_defaults(run=run)
    explain_query.add_parser(kinds)
    explain_access.add_parser(kinds)


def run(given: argparse.Namespace) -> int:
    """Explain every pod that was named."""
    offline = read_offline(given)
    manifests = read_all(given.filename)
    learn(offline, manifests)
    reasons = []
    for manifest in manifests:
        with placed(manifest):
            reasons.append(_explain(manifest.obj, offline, given.namespace_label))
    if not any(reasons):
        kinds = ", ".join(sorted({str(manifest.obj.get("kind")) for manifest in manifests}))
        print(f"livery: there is no pod and no pod template here, only {kinds}", file=sys.stderr)
        return 1
    return 1 if Reason.MALFORMED in reasons else 0


def _explain(obj: dict[str, Any], offline: Offline, labels: list[str]) -> Reason | None:
    pod = find_pod(obj)
    if pod is None:
        return None
    add_namespace(offline, namespace_of(obj) or offline.namespace, labels)
    decision = decide_offline(obj, offline)
    if decision is None:
        return None
    is_injected = decision.reason is Reason.INJECTED
    print(paint(describe_object(obj, offline.namespace), BOLD))
    verdict = paint("injected", GREEN) if is_injected else paint("left alone", YELLOW)
    namespace = namespace_of(obj) or offline.namespace
    for line in _of_namespace(namespace, offline):
        print(f"  {line}")
    print(f"  {verdict} ({decision.reason}): {decision.sentence}")
    for warning in decision.warnings:
        print(f"  warning ({warning.code}): {warning.text}{_doubt(warning.code, offline)}")
    for line in _plan(decision, offline.platform.labels):
        print(f"  {line}")
    if not offline.is_from_cluster:
        print(f"  assumed: namespace {namespace} has the label {INJECT}=enabled")
    for operation in patch(pod, decision, offline.platform, offline.ca_bundle):
        print(f"  {operation['op']:8}{operation['path']}")
        if "value" in operation:
            print(_indent(json.dumps(operation["value"], indent=2, ensure_ascii=False)))
    return decision.reason


def _doubt(code: WarningCode, offline: Offline) -> str:
    """Say where a command on files cannot know better."""
    if code is WarningCode.NAME_TAKEN and not offline.is_from_cluster:
        return f", unless Livery's image is not {offline.platform.image}: --from-cluster knows"
    return ""


def _of_namespace(name: str, offline: Offline) -> list[str]:
    """Say what the namespace's label means for its pods."""
    known = offline.cluster.namespace(name)
    if not offline.is_from_cluster or (known is not None and known.is_labelled):
        return []
    lacks = paint("not injected", YELLOW)
    return [
        f"{lacks}: namespace {name} lacks the label {INJECT}=enabled; with it:",
        f"kubectl label namespace {name} {INJECT}=enabled",
    ]


def _indent(text: str) -> str:
    return "\n".join(f"          {line}" for line in text.splitlines())


def _plan(decision: Decision, rules: Any) -> list[str]:
    proxy = decision.proxy
    if proxy is None:
        return []
    labels = derive_labels(proxy.namespace_labels, rules)
    worn = ", ".join(f'{name}="{value}"' for name, value in labels.items()) or "none yet"
    kind = "native sidecar" if proxy.is_native else "ordinary container"
    return [
        f"proxy: {kind}, metrics on port {proxy.port}, admin on {proxy.admin_port}",
        *(f"target: {target}" for target in proxy.targets),
        f"labels at its start: {worn}",
    ]
