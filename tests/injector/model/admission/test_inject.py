import copy
import json
import re

from hypothesis import assume, given

from injector.model.admission.decide import Decision, decide
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason
from injector.model.admission.patch import Operation
from injector.model.admission.removal import uninject
from injector.model.cluster import names
from injector.model.cluster.objects import running_containers
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from sidecar.roles.pod.settings import parse_pod_settings
from tests.injector.model.pods import ASKING_PODS, PODS, Json
from tests.injector.webhook import apply

PLATFORM = Platform(image_pull_secrets=("pull", "other"))
OWN_PATHS = re.compile(
    r"/metadata(?:/(?:labels|annotations))?|/metadata/labels/livery\.dev~1proxy"
    r"|/metadata/annotations/(?:livery\.dev~1(?:status|original)"
    r"|prometheus[^a-z]io(?:[^a-z~]|~1)(?:scrape|port|path|scheme))"
    r"|/spec/(?:initContainers|volumes|imagePullSecrets|containers)(?:/(?:-|\d+))?"
)


def _review(pod: Json) -> tuple[Decision, list[Operation], Json]:
    decision = decide(pod, "shop", ClusterState(), PLATFORM)
    operations = patch(pod, decision, PLATFORM, "PEM")
    return decision, operations, apply(pod, operations)


def _proxy(pod: Json) -> Json:
    spec = pod["spec"]
    found = [*spec["containers"], *(spec.get("initContainers") or [])]
    proxies: list[Json] = [item for item in found if item.get("name") == names.PROXY_CONTAINER]
    assert len(proxies) == 1
    return proxies[0]


def _contains(large: object, small: object) -> bool:
    """Return whether one value contains all of another; nulls may have been replaced."""
    if isinstance(small, dict) and isinstance(large, dict):
        return all(key in large and _contains(large[key], small[key]) for key in small)
    if isinstance(small, list) and isinstance(large, list):
        rest = iter(large)
        return all(any(item == other for other in rest) for item in small)
    return small is None or large == small


@given(PODS)
def test_a_second_review_changes_nothing(pod: Json) -> None:
    decision, _, result = _review(pod)

    again, operations, _ = _review(result)

    assert operations == []
    if decision.reason is Reason.INJECTED:
        assert again.reason is Reason.ALREADY_INJECTED


@given(ASKING_PODS)
def test_operations_stay_on_our_own_paths(pod: Json) -> None:
    _, operations, _ = _review(pod)

    assert [item["path"] for item in operations if not OWN_PATHS.fullmatch(item["path"])] == []
    assert {item["op"] for item in operations} <= {"add", "replace", "remove"}


@given(ASKING_PODS)
def test_uninject_undoes_inject(pod: Json) -> None:
    assert uninject(_review(pod)[2]) == pod


@given(ASKING_PODS)
def test_uninject_undoes_inject_after_a_trip_through_json(pod: Json) -> None:
    assert uninject(json.loads(json.dumps(_review(pod)[2]))) == pod


@given(PODS)
def test_uninject_leaves_a_pod_without_a_proxy(pod: Json) -> None:
    assert uninject(pod) == pod


@given(ASKING_PODS)
def test_nothing_of_the_pod_is_lost_save_scrape_annotations(pod: Json) -> None:
    result = _review(pod)[2]
    for part in (pod, result):
        part["metadata"]["annotations"] = {
            key: value
            for key, value in part["metadata"]["annotations"].items()
            if not re.match("prometheus.io|livery.dev/(status|original)", key)
        }
        if part["metadata"].get("labels"):
            part["metadata"]["labels"].pop(names.PROXY_LABEL, None)

    assert _contains(result, pod)


@given(ASKING_PODS)
def test_the_pod_that_is_reviewed_is_not_changed(pod: Json) -> None:
    before = copy.deepcopy(pod)

    _review(pod)

    assert pod == before


@given(ASKING_PODS)
def test_the_proxy_satisfies_restricted_pod_security(pod: Json) -> None:
    decision, _, result = _review(pod)
    assume(decision.reason is Reason.INJECTED)
    context = _proxy(result)["securityContext"]

    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context.get("runAsUser") != 0


@given(ASKING_PODS)
def test_the_proxy_takes_no_port_of_the_application(pod: Json) -> None:
    decision, _, result = _review(pod)
    proxy = decision.proxy
    assume(proxy is not None)
    assert proxy is not None  # for mypy
    ours = {port["containerPort"] for port in _proxy(result)["ports"]}
    theirs = {
        port["containerPort"] for item in running_containers(pod) for port in item.get("ports", [])
    }

    assert len(ours) == 2
    assert ours.isdisjoint(theirs | {target.port for target in proxy.targets})


@given(ASKING_PODS)
def test_the_proxy_understands_its_own_arguments(pod: Json) -> None:
    decision, _, result = _review(pod)
    proxy = decision.proxy
    assume(proxy is not None)
    assert proxy is not None  # for mypy
    container = _proxy(result)
    arguments = [item.replace("$$", "$") for item in container["args"]]
    environment = {item["name"]: item.get("value", "") for item in container["env"]}

    settings = parse_pod_settings(arguments, environment)

    assert settings.faults == ()
    assert settings.targets == proxy.targets


@given(ASKING_PODS)
def test_every_scrape_annotation_points_at_the_proxy(pod: Json) -> None:
    decision, _, result = _review(pod)
    proxy = decision.proxy
    assume(proxy is not None)
    assert proxy is not None  # for mypy
    annotations = result["metadata"]["annotations"]

    assert annotations["prometheus.io/port"] == str(proxy.port)
    assert [key for key in annotations if re.match("prometheus.io", key)] == [
        key for key in annotations if key.startswith("prometheus.io/")
    ]
