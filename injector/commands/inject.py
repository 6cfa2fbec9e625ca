"""`livery inject` and `livery uninject`: the webhook's changes, made to files."""

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from injector.commands.colours import CYAN, GREEN, RED, paint
from injector.commands.inputs import (
    DEFAULT_NAMESPACE,
    Offline,
    add_file_arguments,
    add_input_arguments,
    add_namespace,
    check_namespaces,
    learn,
    placed,
    read_files,
    read_offline,
)
from injector.commands.reports import printable
from injector.commands.workloads import (
    describe_object,
    find_pod,
    inject_object,
    replace_pod,
)
from injector.files.editing import edit
from injector.files.manifests import ManifestFile, Place
from injector.model.admission.outcomes import Reason
from injector.model.admission.removal import uninject
from injector.model.cluster.objects import namespace_of
from sidecar.process.help_format import HelpFormatter

INJECT_EXAMPLES = """examples:
  livery inject -f deployment.yaml | kubectl apply -f -
  livery inject -f pod.yaml --namespace-label team=frontend --diff
  livery inject --from-cluster -f deployment.yaml | kubectl apply -f -
      with the settings, the CA and the namespace's labels of the cluster, for
      injection.mode=none

exit codes: 0 done, 1 a manifest cannot be used, 2 wrong arguments or an unreadable file
"""
UNINJECT_EXAMPLES = """examples:
  livery uninject -f pod.yaml | kubectl apply -f -
  livery uninject -f pod.yaml --diff

exit codes: 0 done, 1 a manifest cannot be used, 2 wrong arguments or an unreadable file
"""
_NOTHING_FOUND = "it contains no pod, and no pod template at spec.template"
_VERBS = {Reason.INJECTED: "injected", Reason.PREPARED: "completed"}


def add_parsers(commands: Any) -> None:
    """Add both commands to the command line."""
    inject = commands.add_parser(
        "inject",
        help="add the proxy to manifests, as the webhook would",
        description="Add the proxy to pods and pod templates; the result is YAML on stdout, the "
        "reasons are on stderr. The namespace is treated as opted in; Namespaces and LimitRanges "
        "among the manifests are treated as if they were in the cluster.",
        epilog=INJECT_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add_input_arguments(inject)
    inject.add_argument("--diff", action="store_true", help="show what would change instead")
    inject.set_defaults(run=run_inject)
    remove = commands.add_parser(
        "uninject",
        help="remove the proxy from manifests",
        description="Restore pods and pod templates to their state before injection.",
        epilog=UNINJECT_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add_file_arguments(remove)
    remove.add_argument("--diff", action="store_true", help="show what would change instead")
    remove.set_defaults(run=run_uninject)


def run_inject(given: argparse.Namespace) -> int:
    """Inject every object in the given files."""
    offline = read_offline(given)
    files = read_files(given.filename)
    manifests = [manifest for file in files for manifest in file.manifests]
    check_namespaces(manifests, given.namespace)
    learn(offline, manifests)
    injector = _Injector(offline, given.namespace_label)
    _treat_all(files, injector.treat, shows_diff=given.diff)
    injector.warn()
    return 1 if Reason.MALFORMED in injector.reasons else 0


class _Injector:
    """Injects objects one by one, and reports the outcome of each."""

    def __init__(self, offline: Offline, labels: Sequence[str]) -> None:
        self._offline = offline
        self._labels = list(labels)
        self._unknown: set[str] = set()
        """Namespaces of injected objects whose labels are unknown."""
        self.reasons: set[Reason] = set()

    def treat(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return the object with its proxy, if it gets one."""
        offline = self._offline
        namespace = namespace_of(obj) or offline.namespace
        add_namespace(offline, namespace, self._labels)
        known = offline.cluster.namespace(namespace)
        is_told = known is not None and bool(known.labels)
        treated = inject_object(obj, offline)
        decision = treated.decision
        if decision is None:
            _say(obj, offline.namespace, f"unchanged: {_NOTHING_FOUND}")
            return treated.obj
        self.reasons.add(decision.reason)
        if decision.reason is Reason.INJECTED and not is_told:
            self._unknown.add(namespace)
        verb = _VERBS.get(decision.reason)
        verb = paint(verb, GREEN, sys.stderr) if verb else "left alone"
        _say(obj, offline.namespace, f"{verb}: {decision.sentence} ({decision.reason})")
        for warning in decision.warnings:
            _say(obj, offline.namespace, f"warning: {warning.text} ({warning.code})")
        return treated.obj

    def warn(self) -> None:
        """Warn about facts that a cluster would have provided and that are missing here."""
        image = self._offline.platform.image
        if Reason.INJECTED in self.reasons and "/" not in image:
            _warn(
                f"the proxy's image {image} names no registry; use --image, --platform, or "
                "--from-cluster"
            )
        for namespace in sorted(self._unknown):
            way = (
                "it is not in the cluster yet: create it first"
                if self._offline.is_from_cluster
                else "use --namespace-label or --from-cluster, or add its Namespace manifest"
            )
            _warn(f"the labels of namespace {namespace} are not known, so series get none; {way}")


def run_uninject(given: argparse.Namespace) -> int:
    """Restore every object in the given files."""

    def treat(obj: dict[str, Any]) -> dict[str, Any]:
        pod = find_pod(obj)
        if pod is None:
            return obj
        restored = uninject(pod)
        done = "no proxy to remove" if restored == pod else "the proxy was removed"
        _say(obj, given.namespace or DEFAULT_NAMESPACE, done)
        return replace_pod(obj, restored)

    files = read_files(given.filename)
    check_namespaces((item for file in files for item in file.manifests), given.namespace)
    _treat_all(files, treat, shows_diff=given.diff)
    return 0


def _treat_all(
    files: Sequence[ManifestFile],
    treat: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    shows_diff: bool,
) -> None:
    texts = [_treat_file(file, treat) for file in files]
    if shows_diff:
        for file, text in zip(files, texts, strict=True):
            sys.stdout.writelines(_diff(file.text, text))
    else:
        sys.stdout.write(_join(texts))


def _treat_file(file: ManifestFile, treat: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    changed: dict[Place, dict[str, Any]] = {}
    for manifest in file.manifests:
        with placed(manifest):
            after = treat(manifest.obj)
        if after != manifest.obj:
            changed[manifest.place] = after
    edited = edit(file, changed)
    if edited.is_anew:
        _warn(f"{file.source} was rewritten, without its comments")
    return edited.text


def _join(texts: Sequence[str]) -> str:
    """Join files to one YAML stream."""
    joined = ""
    for text in texts:
        ended = f"{joined}\n" if joined and not joined.endswith("\n") else joined
        joined = ended + ("---\n" if ended and not text.startswith("---") else "") + text
    return joined


def _warn(text: str) -> None:
    print(printable(f"livery: warning: {text}"), file=sys.stderr)


def _say(obj: dict[str, Any], namespace: str, sentence: str) -> None:
    print(printable(f"{describe_object(obj, namespace)}: {sentence}"), file=sys.stderr)


def _diff(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        "before",
        "after",
    )
    return [_paint_line(line) for line in lines]


def _paint_line(line: str) -> str:
    colour = {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1])
    return line if colour is None else paint(line.rstrip("\n"), colour) + "\n"
