"""`livery explain namespace`: its labels on series, and its pods' proxies."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from injector.commands.colours import BOLD, GREEN, YELLOW, paint
from injector.commands.inputs import (
    Offline,
    add_input_arguments,
    add_namespace,
    check_namespaces,
    learn,
    load_namespace,
    read_all,
    read_offline,
)
from injector.commands.reports import add_output_argument, print_report
from injector.commands.workloads import decide_offline
from injector.errors import SettingsError
from injector.model.admission.selection import is_enabled
from injector.model.admission.troubles import find_proxy
from injector.model.cluster.names import INJECT
from injector.model.cluster.objects import Object, name_of
from sidecar.model.labels.namespace_labels import LabelFate, explain_labels
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery explain namespace shop
      a namespace of the cluster that KUBECONFIG names: its labels, and each pod's proxy
  livery explain namespace shop -f namespace.yaml --platform platform.yaml
      the same from a file, with these settings

exit codes: 0 explained, 1 it does not opt in to injection, 2 wrong arguments
"""
_ADDED = (LabelFate.ADDED, LabelFate.CONFLICT)


def add_parser(kinds: Any) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser(
        "namespace",
        help="which of its labels are on its series, and which pods have a proxy",
        description="Explain a namespace: whether its pods get proxies, which of its labels "
        "become labels of their series and why others do not, and which pods have a proxy.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the namespace")
    add_input_arguments(parser)
    add_output_argument(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Explain one namespace."""
    given.from_cluster = not given.filename
    if given.namespace not in (None, given.name):
        raise SettingsError(f"-n {given.namespace} contradicts {given.name}: leave it out")
    given.namespace = given.name
    offline = read_offline(given)
    pods: Iterable[Object] = ()
    if given.filename:
        manifests = read_all(given.filename)
        check_namespaces((item for item in manifests if item.obj.get("kind") != "Namespace"), None)
        learn(offline, manifests)
    else:
        pods = offline.live.pods(given.name) if offline.live else ()
    if not load_namespace(offline, given.name):
        where = "the files" if given.filename else "the cluster"
        raise SettingsError(f"there is no namespace {given.name} in {where}")
    add_namespace(offline, given.name, given.namespace_label)
    facts = _describe(given.name, offline, pods)
    print_report(facts, _write(facts), given.output)
    return 0 if facts["injects"] else 1


def _describe(name: str, offline: Offline, pods: Iterable[Object]) -> dict[str, Any]:
    known = offline.cluster.namespace(name)
    labels = {} if known is None else known.labels
    return {
        "namespace": name,
        "injects": is_enabled(known, offline.platform),
        "isLabelled": known is not None and known.is_labelled,
        "labels": [
            {
                "key": item.key,
                "value": item.value,
                "fate": str(item.fate),
                "sentence": item.fate.sentence,
                "name": item.name,
            }
            for item in explain_labels(labels, offline.platform.labels)
        ],
        "pods": [_describe_pod(dict(pod), offline) for pod in pods],
    }


def _describe_pod(pod: dict[str, Any], offline: Offline) -> dict[str, Any]:
    if find_proxy(pod) is not None:
        return {"pod": name_of(pod), "hasProxy": True, "sentence": "has a proxy"}
    decision = decide_offline(pod, offline)
    if decision is None:
        return {"pod": name_of(pod), "hasProxy": False, "sentence": "not a pod"}
    facts = {"pod": name_of(pod), "hasProxy": False, "reason": str(decision.reason)}
    if decision.proxy is not None:
        return {**facts, "sentence": "created before injection was enabled: restart its workload"}
    return {**facts, "sentence": decision.sentence}


def _write(facts: Mapping[str, Any]) -> Iterator[str]:
    name = facts["namespace"]
    yield paint(f"Namespace {name}", BOLD)
    if facts["injects"]:
        yield f"  {paint('injects', GREEN)}: new pods go to the webhook"
    elif facts["isLabelled"]:
        yield f"  {paint('does not inject', YELLOW)}: the webhook's namespaceSelector excludes it"
    else:
        yield f"  {paint('does not inject', YELLOW)}: it lacks {INJECT}=enabled"
        yield f"    kubectl label namespace {name} {INJECT}=enabled"
    yield "  labels on the series of its pods:"
    yield from _write_labels(facts["labels"])
    if facts["pods"]:
        yield "  pods:"
    width = max((len(pod["pod"]) for pod in facts["pods"]), default=0)
    for pod in facts["pods"]:
        said = paint(pod["sentence"], GREEN) if pod["hasProxy"] else pod["sentence"]
        yield f"    {pod['pod']:{width}}  {said}"


def _write_labels(labels: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    added = [item for item in labels if item["fate"] in _ADDED]
    if not added:
        yield "    none yet; kubectl label namespace … team=frontend would add one"
    for item in added:
        numbered = f" ({item['sentence']})" if item["fate"] == LabelFate.CONFLICT else ""
        yield f'    {item["name"]}="{item["value"]}" from {item["key"]}{numbered}'
    for item in labels:
        if item["fate"] not in _ADDED:
            yield f"    {item['key']}: {item['sentence']}"
