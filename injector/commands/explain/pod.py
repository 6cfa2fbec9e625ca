"""`livery explain pod`: why pods get a proxy or not."""

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

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
from injector.commands.reports import add_output_argument, print_report
from injector.commands.workloads import decide_offline, describe_object, find_pod
from injector.errors import SettingsError
from injector.model.admission.decide import Decision
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason, WarningCode
from injector.model.admission.selection import is_enabled
from injector.model.admission.templates import PodProxy
from injector.model.admission.troubles import find_data_port, find_proxy, is_drifted, mend_drift
from injector.model.cluster.names import INJECT, PROXY_CONTAINER
from injector.model.cluster.objects import Object, name_of, namespace_of
from sidecar.model.labels.namespace_labels import derive_labels
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain pod web-0 -n shop
      a pod of the cluster that KUBECONFIG names: its proxy, or why it has none
  livery explain pod -f pod.yaml --patch
      a manifest, and the patch for it
  livery explain pod -f pod.yaml --namespace-label team=frontend
      the same in a namespace with this label

exit codes: 0 explained, 1 no pod in the files or a malformed one, 2 wrong arguments
"""
Facts = Mapping[str, Any]
"""The facts about one pod, as `-o json` prints them."""


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "pod",
        help="why a pod gets a proxy or not",
        description="Explain why pods get a proxy or not: those of the cluster, or of manifests.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a pod of the cluster")
    add_input_arguments(parser)
    parser.add_argument(
        "--patch", action="store_true", help="also show the patch that would be applied"
    )
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain the named pod, or every pod in the files."""
    pods = _examine_files(given) if given.name is None else [_examine_live(given)]
    if not pods:
        return 1
    lines = (line for pod in pods for line in _write(pod))
    print_report({"pods": pods}, lines, given.output)
    return 1 if any(pod.get("reason") == Reason.MALFORMED for pod in pods) else 0


def _examine_files(given: argparse.Namespace) -> list[Facts]:
    if not given.filename:
        raise SettingsError("name a pod of the cluster, or manifests with -f FILE")
    offline = read_offline(given)
    manifests = read_all(given.filename)
    check_namespaces(manifests, given.namespace)
    learn(offline, manifests)
    known = {name_of(item.obj) for item in manifests if item.obj.get("kind") == "Namespace"}
    pods = []
    for manifest in manifests:
        with placed(manifest):
            pods.append(_examine(manifest.obj, offline, given, known))
    if not any(pods):
        kinds = ", ".join(sorted({str(manifest.obj.get("kind")) for manifest in manifests}))
        print(f"livery: the files contain no pod or pod template, only {kinds}", file=sys.stderr)
    return [pod for pod in pods if pod is not None]


def _examine_live(given: argparse.Namespace) -> Facts:
    if given.filename:
        raise SettingsError("name a pod, or files with -f, but not both")
    given.from_cluster = True
    offline = read_offline(given)
    pod = offline.live.pod(offline.namespace, given.name) if offline.live else None
    if pod is None:
        raise SettingsError(f"there is no pod {given.name} in namespace {offline.namespace}")
    proxy = find_proxy(pod)
    return examine_proxy(pod, proxy, offline) if proxy else _examine(pod, offline, given) or {}


def examine_proxy(pod: dict[str, Any], proxy: Object, offline: Offline) -> Facts:
    """Describe a running pod's proxy."""
    facts: dict[str, Any] = {
        "object": describe_object(pod, offline.namespace),
        "hasProxy": True,
        "image": str(proxy.get("image")),
        "port": find_data_port(pod),
    }
    state = _why_not_running(pod)
    if state:
        facts["notRunning"] = state
    if is_drifted(pod, offline.platform.mesh):
        facts["fix"] = mend_drift(pod)
    return facts


def _why_not_running(pod: Object) -> str:
    status = pod.get("status") or {}
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = one.get("state") or {}
        if one.get("name") == PROXY_CONTAINER and "running" not in state:
            return str(next((item.get("reason", "") for item in state.values()), "")) or "pending"
    return ""


def _examine(
    obj: dict[str, Any],
    offline: Offline,
    given: argparse.Namespace,
    known: Collection[str] = (),
) -> Facts | None:
    """Decide about an object's pod; return None if it has none.

    Args:
        obj: the object.
        offline: the settings that apply.
        given: the command's arguments.
        known: namespaces whose labels are known from files, if there is no cluster.
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
    facts = {
        "object": describe_object(obj, offline.namespace),
        "hasProxy": False,
        **describe_decision(decision, offline, namespace, is_known=is_known),
    }
    if given.patch:
        operations = patch(pod, decision, offline.platform, offline.ca_bundle)
        facts["patch"] = list(operations)
    return facts


def describe_decision(
    decision: Decision, offline: Offline, namespace: str, *, is_known: bool
) -> dict[str, Any]:
    """Describe what would become of a pod that is created now."""
    labelled = offline.cluster.namespace(namespace)
    is_labelled = labelled is not None and labelled.is_labelled if is_known else None
    is_selected = not is_labelled or is_enabled(labelled, offline.platform)
    facts: dict[str, Any] = {
        "namespace": namespace,
        "namespaceLabelled": is_labelled,
        "namespaceSelected": is_selected,
        "wouldBeInjected": decision.reason is Reason.INJECTED
        and is_labelled is not False
        and is_selected,
        "reason": str(decision.reason),
        "sentence": decision.sentence,
        "warnings": [
            {"code": str(item.code), "text": f"{item.text}{_doubt(item.code, offline)}"}
            for item in decision.warnings
        ],
    }
    if is_labelled is False:
        facts["fix"] = f"kubectl label namespace {namespace} {INJECT}=enabled"
    if decision.proxy is not None:
        facts["proxy"] = _describe_plan(decision.proxy, offline)
    return facts


def _describe_plan(proxy: PodProxy, offline: Offline) -> Facts:
    return {
        "native": proxy.is_native,
        "port": proxy.port,
        "adminPort": proxy.admin_port,
        "targets": [str(target) for target in proxy.targets],
        "labels": derive_labels(proxy.namespace_labels, offline.platform.labels),
    }


def _doubt(code: WarningCode, offline: Offline) -> str:
    """Qualify a warning that is uncertain without a cluster."""
    if code is WarningCode.NAME_TAKEN and not offline.is_from_cluster:
        return f", assuming Livery's image is {offline.platform.image}; check with --from-cluster"
    return ""


def _write(facts: Facts) -> Iterator[str]:
    yield paint(facts["object"], BOLD)
    for line in _write_proxy(facts) if facts["hasProxy"] else _write_decision(facts):
        yield f"  {line}"


def _write_proxy(facts: Facts) -> Iterator[str]:
    yield f"{paint('has a proxy', GREEN)}: {facts['image']}, metrics on {facts['port']}"
    if "notRunning" in facts:
        yield f"{paint('it is not running', YELLOW)}: {facts['notRunning']}"
    if "fix" in facts:
        drifted = "its annotations do not point Prometheus at the proxy"
        yield f"{paint(drifted, YELLOW)}; correct them with"
        yield f"    {facts['fix']}"
    yield "livery doctor reports more about running proxies"


def _write_decision(facts: Facts) -> Iterator[str]:
    """Write the verdict first: without the namespace's label nothing else has an effect."""
    namespace = facts["namespace"]
    is_injected = facts["reason"] == Reason.INJECTED
    verdict = paint("injected", GREEN) if is_injected else paint("left alone", YELLOW)
    said = f"{verdict} ({facts['reason']}): {facts['sentence']}"
    if facts["namespaceLabelled"] is False:
        lacks = paint("would not be injected", YELLOW)
        yield f"{lacks}: namespace {namespace} lacks {INJECT}=enabled"
        yield f"    {facts['fix']}"
        said = f"with that label: {said}"
    elif not facts["namespaceSelected"]:
        lacks = paint("would not be injected", YELLOW)
        yield f"{lacks}: the webhook's namespaceSelector does not match namespace {namespace}"
        return
    yield said
    for warning in facts["warnings"]:
        yield f"warning ({warning['code']}): {warning['text']}"
    yield from _write_plan(facts.get("proxy"))
    if facts["namespaceLabelled"] is None:
        yield f"assumed: namespace {namespace} has the label {INJECT}=enabled"
    for operation in facts.get("patch", ()):
        yield f"{operation['op']:8}{operation['path']}"
        if "value" in operation:
            value = json.dumps(operation["value"], indent=2, ensure_ascii=False)
            yield from (f"        {line}" for line in value.splitlines())


def _write_plan(proxy: Facts | None) -> Iterator[str]:
    if proxy is None:
        return
    kind = "native sidecar" if proxy["native"] else "ordinary container"
    labels = ", ".join(f'{name}="{value}"' for name, value in proxy["labels"].items())
    yield f"proxy: {kind}, metrics on port {proxy['port']}, admin on {proxy['adminPort']}"
    yield from (f"target: {target}" for target in proxy["targets"])
    yield f"labels at startup: {labels or 'none yet'}"
