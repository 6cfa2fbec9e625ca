"""Checks of aggregates: each has targets, is granted their pods, and finds them up."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.kube.doctor.admin_ports import admin_path, find_admin_port
from injector.kube.doctor.findings import MAX_PODS, Finding, Installation, find_all
from injector.kube.doctor.grants import read_platform
from injector.model.cluster.objects import get_mapping, name_of, namespace_of

_NAMED = 3
"""Targets named in one finding."""


class Aggregate(NamedTuple):
    """One aggregate's pod, and what its admin port shows."""

    name: str
    namespace: str
    account: str
    port: int
    shown: Mapping[str, Any]

    @property
    def log(self) -> str:
        """The command that shows its log."""
        return f"kubectl -n {self.namespace} logs {self.name} --tail=50"

    @property
    def page(self) -> str:
        """The command that shows each of its targets."""
        path = admin_path(self.namespace, self.name, self.port, "targets")
        return f"kubectl get --raw {path}"


def look_at_aggregates(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check that every aggregate has pods to scrape, and that they are up."""
    labels = "livery.dev/proxy=aggregate"
    for pod in find_all(client, "/api/v1/pods", MAX_PODS, labelSelector=labels):
        namespace, name, admin = namespace_of(pod), name_of(pod), find_admin_port(pod)
        if (pod.get("status") or {}).get("phase") != "Running" or admin is None:
            remedy = f"kubectl -n {namespace} describe pod {name}"
            yield Finding(False, f"aggregate {namespace}/{name} is not running", remedy)
            continue
        account = str(get_mapping(pod, "spec").get("serviceAccountName") or "default")
        aggregate = Aggregate(name, namespace, account, admin, {})
        try:
            shown = json.loads(client.read_text(admin_path(namespace, name, admin, "targets")))
        except (KubeError, ValueError) as error:
            sentence = f"aggregate {namespace}/{name} cannot be queried: {error}"
            yield Finding(False, sentence, aggregate.log)
            continue
        yield from _judge(aggregate._replace(shown=shown), client, installation)


def _judge(
    aggregate: Aggregate, client: KubeClient, installation: Installation
) -> Iterator[Finding]:
    name, shown = f"{aggregate.namespace}/{aggregate.name}", aggregate.shown
    missing = [str(item) for item in shown.get("notGranted") or ()]
    if missing:
        sentence = f"aggregate {name} is not granted the pods of {', '.join(missing)}"
        yield Finding(False, sentence, _grant(aggregate, missing, client, installation))
    elif shown.get("trouble"):
        sentence = f"aggregate {name} gets no updates of pods: {shown['trouble']}"
        yield Finding(False, sentence, aggregate.log)
    for warning in shown.get("warnings") or ():
        namespace, pod = warning.get("namespace"), warning.get("pod")
        sentence = f"aggregate {name}: {namespace}/{pod}: {warning.get('reason')}"
        yield Finding(False, sentence, f"kubectl -n {namespace} describe pod {pod}")
    yield _judge_targets(aggregate, name)


def _judge_targets(aggregate: Aggregate, name: str) -> Finding:
    shown = aggregate.shown
    targets = [item for item in shown.get("targets") or () if isinstance(item, dict)]
    down = [item for item in targets if item.get("up") is False]
    if not targets:
        return Finding(False, f"aggregate {name} has no pod to scrape{_why(shown)}", _select(shown))
    if not down:
        plural = "s are" if len(targets) > 1 else " is"
        return Finding(True, f"aggregate {name}: {len(targets)} target{plural} scraped")
    names = ", ".join(f"{item.get('namespace')}/{item.get('pod')}" for item in down[:_NAMED])
    more = f" and {len(down) - _NAMED} more" if len(down) > _NAMED else ""
    reason = str(down[0].get("error", ""))[:200]
    sentence = f"{len(down)} of {len(targets)} targets are down: {names}{more} ({reason})"
    return Finding(False, f"aggregate {name}: {sentence}", aggregate.page)


def _grant(
    aggregate: Aggregate, missing: Sequence[str], client: KubeClient, installation: Installation
) -> str:
    """Return the command that adds the grant; it sets the whole list, as Helm replaces lists."""
    platform = read_platform(client, installation)
    present = {} if platform is None else dict(platform.aggregates)
    account = f"{aggregate.namespace}/{aggregate.account}"
    present[account] = (*present.get(account, ()), *missing)
    # The chart adds the grants of its own aggregates.
    own = f"{installation.namespace}/{installation.injector.removesuffix('-injector')}-aggregate-"
    grants = [
        {"serviceAccount": name, "namespaces": list(namespaces)}
        for name, namespaces in present.items()
        if not name.startswith(own) or name == account
    ]
    value = json.dumps(grants, separators=(",", ":"))
    return (
        f"{installation.upgrade} --set-json 'control.grants.aggregates={value}'"
        "    # without Helm: set it in charts/livery/values.yaml, make installer, then "
        "kubectl apply -f install.yaml"
    )


def _why(shown: Mapping[str, Any]) -> str:
    pods = shown.get("pods") or {}
    counts = [
        (pods.get("notAnnotated"), 'without prometheus.io/scrape: "true"'),
        (pods.get("notRunning"), "not running"),
        (pods.get("running"), "without a usable target"),
    ]
    found = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"; matching pods: {found}" if found else ": no pod matches its selector"


def _select(shown: Mapping[str, Any]) -> str:
    selector = str(shown.get("selector") or "")
    return f"kubectl get pods -A -l '{selector}'    # the pods that its selector matches"
