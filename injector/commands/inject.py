"""`livery inject` and `livery uninject`: the webhook's work on files."""

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from injector.commands.colours import CYAN, GREEN, RED, paint
from injector.commands.inputs import (
    add_file_arguments,
    add_input_arguments,
    add_namespace,
    learn,
    placed,
    read_all,
    read_offline,
)
from injector.commands.workloads import (
    describe_object,
    find_pod,
    inject_object,
    replace_pod,
)
from injector.files.manifests import Manifest, write_manifests
from injector.model.admission.outcomes import Reason
from injector.model.admission.removal import uninject
from injector.model.cluster.objects import namespace_of

INJECT_EXAMPLES = """examples:
  livery inject -f deployment.yaml | kubectl apply -f -
  livery inject -f pod.yaml --namespace-label team=frontend --diff
  kubectl get deployment web -o yaml | livery inject -f -

exit codes: 0 done, 1 a manifest cannot be used, 2 a wrong call or a file that cannot be read
"""
UNINJECT_EXAMPLES = """examples:
  livery uninject -f pod.yaml | kubectl apply -f -
  livery uninject -f pod.yaml --diff

exit codes: 0 done, 1 a manifest cannot be used, 2 a wrong call or a file that cannot be read
"""
_VERBS = {Reason.INJECTED: "injected", Reason.PREPARED: "completed"}


def add_parsers(commands: Any) -> None:
    """Add both commands to the command line."""
    inject = commands.add_parser(
        "inject",
        help="add the proxy to manifests, as the webhook would",
        description="Add the proxy to pods and pod templates; the result is YAML on stdout, the "
        "reasons are on stderr. The namespace counts as opted in; Namespaces and LimitRanges among "
        "the manifests count as the cluster's.",
        epilog=INJECT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_input_arguments(inject)
    inject.add_argument("--diff", action="store_true", help="show what would change instead")
    inject.set_defaults(run=run_inject)
    remove = commands.add_parser(
        "uninject",
        help="take the proxy out of manifests again",
        description="Restore pods and pod templates to what they were before the webhook.",
        epilog=UNINJECT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_file_arguments(remove)
    remove.add_argument("--diff", action="store_true", help="show what would change instead")
    remove.set_defaults(run=run_uninject)


def run_inject(given: argparse.Namespace) -> int:
    """Inject every object that was named."""
    offline = read_offline(given)
    manifests = read_all(given.filename)
    learn(offline, manifests)
    malformed: list[dict[str, Any]] = []

    def treat(obj: dict[str, Any]) -> dict[str, Any]:
        namespace = namespace_of(obj) or offline.namespace
        add_namespace(offline, namespace, given.namespace_label)
        treated = inject_object(obj, offline)
        if treated.decision is not None:
            verb = _VERBS.get(treated.decision.reason)
            verb = paint(verb, GREEN, sys.stderr) if verb else "left alone"
            sentence = f"{verb}: {treated.decision.sentence} ({treated.decision.reason})"
            _say(obj, offline.namespace, sentence)
            for warning in treated.decision.warnings:
                _say(obj, offline.namespace, f"warning: {warning.text} ({warning.code})")
            if treated.decision.reason is Reason.MALFORMED:
                malformed.append(obj)
        return treated.obj

    _treat_all(manifests, treat, shows_diff=given.diff)
    return 1 if malformed else 0


def run_uninject(given: argparse.Namespace) -> int:
    """Restore every object that was named."""

    def treat(obj: dict[str, Any]) -> dict[str, Any]:
        pod = find_pod(obj)
        if pod is None:
            return obj
        restored = uninject(pod)
        done = "nothing to take out" if restored == pod else "the proxy was taken out"
        _say(obj, given.namespace, done)
        return replace_pod(obj, restored)

    _treat_all(read_all(given.filename), treat, shows_diff=given.diff)
    return 0


def _treat_all(
    manifests: Sequence[Manifest],
    treat: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    shows_diff: bool,
) -> None:
    before, after = [manifest.obj for manifest in manifests], []
    for manifest in manifests:
        with placed(manifest):
            after.append(treat(manifest.obj))
    if shows_diff:
        sys.stdout.writelines(_diff(before, after))
    else:
        sys.stdout.write(write_manifests(after))


def _say(obj: dict[str, Any], namespace: str, sentence: str) -> None:
    print(f"{describe_object(obj, namespace)}: {sentence}", file=sys.stderr)


def _diff(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    lines = difflib.unified_diff(
        write_manifests(before).splitlines(keepends=True),
        write_manifests(after).splitlines(keepends=True),
        "before",
        "after",
    )
    return [_paint_line(line) for line in lines]


def _paint_line(line: str) -> str:
    colour = {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1])
    return line if colour is None else paint(line.rstrip("\n"), colour) + "\n"
