"""The chart's MutatingAdmissionPolicy on a real API server: equal to the webhook, case for case."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from injector.errors import KubeError
from injector.kube.api.client import JsonObject
from injector.kube.certificates.published import policy_facts
from injector.model.admission.decide import decide
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import Reason
from injector.model.admission.quantities import parse_quantity
from injector.model.admission.templates import template_hash
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.document import parse_platform
from injector.platform.settings import Platform
from tests.cluster.fixtures import (
    CHART,
    Namespace,
    Release,
    installed_chart,
    make_namespace,
    until,
)
from tests.cluster.versions import needs_mutating_policies
from tests.injector.admission_cases import CASES, GOLDEN, is_pod_or_workload, make_pod, read_case
from tests.injector.webhook import CA_BUNDLE, apply
from tests.real_parts.kubernetes import ApiServer

DRY_RUN = {"dryRun": "All"}
PODS = [
    name for name in CASES if is_pod_or_workload(name) and not name.startswith("node-daemon-set")
]
PLATFORMS = sorted(
    name
    for name in PODS
    if (GOLDEN / name / "platform.yaml").exists() and not name.startswith("object-selector")
)
REFUSED = {
    "generate-name-without-an-owner",  # probe.-abcde is not a valid name
    "malformed-annotation-is-left-to-the-api-server",
    "pod-without-containers-is-left-to-the-api-server",
}
"""Cases that the API server always rejects."""
POLICY = ("--set", "injection.mode=policy")
pytestmark = needs_mutating_policies
ADDRESS = "10.0.0.7"
_RANDOM = re.compile("kube-api-access-[a-z0-9]+")


class Rig:
    """A release in policy mode, and the two ways to make one pod."""

    def __init__(self, release: Release, platform: Platform) -> None:
        self.release = release
        self.client = release.own.client
        self.platform = platform
        self._plain = make_namespace(self.client, "plain")
        self._plain.create("serviceaccounts", "web")

    def by_policy(self, pod: JsonObject, namespace: str) -> JsonObject:
        """Return a pod after admission in a namespace with injection enabled."""
        return self._dry(pod, namespace)

    def by_webhook(self, pod: JsonObject, namespace: str) -> tuple[JsonObject, Reason]:
        """Return the pod with the webhook's patch instead, and the reason."""
        seen = _as_reviewed(self._dry(pod, self._plain.name), pod)
        cluster = ClusterState()
        cluster.put("Namespace", self.client.request("GET", f"/api/v1/namespaces/{namespace}"))
        decision = decide(seen, namespace, cluster, self.platform)
        patched = apply(seen, patch(seen, decision, self.platform, CA_BUNDLE))
        return self._dry(patched, self._plain.name), decision.reason

    def _dry(self, pod: JsonObject, namespace: str) -> JsonObject:
        metadata = {key: value for key, value in pod["metadata"].items() if key != "namespace"}
        path = f"/api/v1/namespaces/{namespace}/pods"
        return self.client.request("POST", path, query=DRY_RUN, body={**pod, "metadata": metadata})


def _as_reviewed(made: JsonObject, pod: JsonObject) -> JsonObject:
    """Remove fields that are set after admission: a review has no generated name yet."""
    after = {"uid", "creationTimestamp", "namespace", "managedFields", "resourceVersion",
             "generation"}  # fmt: skip
    if "generateName" in pod["metadata"] and "name" not in pod["metadata"]:
        after.add("name")
    metadata = {key: value for key, value in made["metadata"].items() if key not in after}
    return {key: value for key, value in made.items() if key != "status"} | {"metadata": metadata}


def _comparable(pod: JsonObject, asked: JsonObject) -> JsonObject:
    shown: JsonObject = json.loads(
        _RANDOM.sub("kube-api-access", json.dumps(_as_reviewed(pod, asked)))
    )
    for container in [*shown["spec"]["containers"], *shown["spec"].get("initContainers", ())]:
        for amounts in container.get("resources", {}).values():
            amounts.update({name: parse_quantity(text) for name, text in amounts.items()})
    return shown


@pytest.fixture(scope="module")
def rig(api_server: ApiServer) -> Iterator[Rig]:
    """One release in policy mode for the whole file."""
    client = api_server.client()
    with installed_chart(api_server, client, *POLICY) as release:
        rig = Rig(release, _platform(release))
        ready = make_namespace(client, "ready", {"livery.dev/inject": "enabled"})
        pod = read_case("annotated-pod-is-injected").obj
        # The policy, and what the injector publishes, take effect after a moment.
        until(lambda: "MIIB" in json.dumps(rig.by_policy(pod, ready.name)))
        yield rig


def _platform(release: Release) -> Platform:
    """Read the injector's settings, and publish its CA as the injector would."""
    own, name = release.own, release.name
    try:
        path = f"{own.path}/configmaps/{name}-platform"
        document = own.client.request("GET", path)["data"]["platform.yaml"]
    except KubeError:
        # Without a control service nothing reads settings, so none are written.
        given = yaml.safe_load(release.helm("get", "values", name, "--all", "--output", "yaml"))
        image = {"reference": "localhost/livery-sidecar:0.1.0", **given["image"]}
        wanted = {key: image[key] for key in ("reference", "pullPolicy", "pullSecrets")}
        blocks = {key: given[key] for key in ("labels", "exposition", "access", "control")}
        del blocks["labels"]["fromPods"]  # for node proxies, which get it as arguments
        settings = {**blocks, "image": wanted, "ownNamespace": own.name}
        document = yaml.safe_dump(settings)
    platform = parse_platform(yaml.safe_load(document))
    if platform.control is None:
        return platform
    policy_facts(own.client, own.name, f"{name}-policy", lambda: ADDRESS).publish(CA_BUNDLE)
    return replace(platform, control=replace(platform.control, address=ADDRESS))


def _compare(rig: Rig, name: str) -> None:
    """Check that both results are equal, except for LimitRanges, which no policy can see."""
    pod, namespace = _stage(rig, name)
    expected, reason = rig.by_webhook(pod, namespace)
    found = rig.by_policy(pod, namespace)
    assert _comparable(found, pod) == _comparable(expected, pod)
    has_proxy = names.PROXY_CONTAINER in str(found["spec"])
    assert has_proxy == (reason in (Reason.INJECTED, Reason.ALREADY_INJECTED))


def _stage(rig: Rig, name: str) -> tuple[JsonObject, str]:
    """Return a case's pod, and a namespace like the case's that asks for injection."""
    case = read_case(name)
    pod: Any = case.obj if case.obj.get("kind") == "Pod" else make_pod(case.obj)
    asks = {"livery.dev/inject": "enabled"}
    if case.namespace == "livery-system":
        rig.release.own.label(**asks)
        return pod, rig.release.own.name
    if case.namespace in names.SYSTEM_NAMESPACES:
        system = Namespace(rig.client, case.namespace)
        system.label(**asks)
        with suppress(KubeError):
            system.create("serviceaccounts", "default")
        return pod, system.name
    known = case.cluster.namespace(case.namespace)
    labels = {} if known is None else dict(known.labels)
    labels.pop("kubernetes.io/metadata.name", None)
    made = make_namespace(rig.client, "case", {**labels, **asks})
    made.create("serviceaccounts", "web")
    return pod, made.name


@pytest.mark.parametrize("name", sorted(set(PODS) - set(PLATFORMS) - REFUSED))
def test_a_pod_gets_of_the_policy_what_the_webhook_gives(rig: Rig, name: str) -> None:
    _compare(rig, name)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_the_api_server_refuses_it_refuses_with_the_policy(rig: Rig, name: str) -> None:
    pod, namespace = _stage(rig, name)

    with pytest.raises(KubeError, match=r"invalid|cannot be handled"):
        rig.by_policy(pod, namespace)


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_chart_s_settings_reach_the_policy(rig: Rig, name: str, tmp_path: Path) -> None:
    document = yaml.safe_load((GOLDEN / name / "platform.yaml").read_text())
    # The chart has separate values for the parts of an image.
    image = {"pullSecrets": document.pop("image", {}).get("pullSecrets", [])}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({**document, "image": image}))
    release = rig.release
    release.helm("upgrade", release.name, str(CHART), *POLICY, "--values", str(values))
    _await_settings(rig)

    _compare(rig, name)
    _compare(rig, "three-targets-one-https-with-a-query")

    release.helm("upgrade", release.name, str(CHART), *POLICY)
    _await_settings(rig)
    _compare(rig, "annotated-pod-is-injected")


def _await_settings(rig: Rig) -> None:
    """Wait until the API server applies the chart's current policy."""
    rig.platform = _platform(rig.release)
    pod, namespace = _stage(rig, "annotated-pod-is-injected")
    until(lambda: template_hash(rig.platform) in json.dumps(rig.by_policy(pod, namespace)))


_TEXT = st.text(max_size=12) | st.sampled_from(
    ["", "true", "false", "8080", "0", "web", "http", "https", "HTTPS", "/metrics", "/a b",
     "a=http://:1/x,b=https://:http", "http://:80, ,http://:81\x1f,http://:80/%2c", "http\u017f://:1",
     "web=http://:81,web=http://:80,web-80=http://:80", "native", "container", "metricaccess",
     "16090", "16091", "65535", "64Mi", "0.5", "1e3", "64MiB", "namespace", "team/web", "$(A)$"]
)  # fmt: skip
_KEYS = st.sampled_from(
    [*(f"prometheus.io/{name}" for name in ("scrape", "port", "path", "scheme")),
     "prometheus.io.scrape", "prometheus-io/port", "prometheus_io_path",
     names.INJECT, names.TARGETS, names.PORT, names.SIDECAR, names.FILTER, names.JOB,
     names.NAMESPACE_LABEL, names.STATUS, names.ORIGINAL, *names.RESOURCES.values()]
)  # fmt: skip
_PORTS = st.lists(
    st.fixed_dictionaries({"containerPort": st.sampled_from([80, 81, 8080, 16090, 16091])},
                          optional={"name": st.sampled_from(["http", "web"])}),
    max_size=2, unique_by=lambda port: port.get("name", port["containerPort"]),
)  # fmt: skip
_AMOUNTS = st.dictionaries(
    st.sampled_from(["limits", "requests"]),
    st.dictionaries(st.sampled_from(["cpu", "memory"]), st.sampled_from(["1", "100Mi", "0"])),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    annotations=st.dictionaries(_KEYS, _TEXT, max_size=8),
    ports=_PORTS,
    amounts=_AMOUNTS,
    is_native=st.booleans(),
    on_host=st.booleans(),
)
def test_any_pod_gets_of_the_policy_what_the_webhook_gives(
    rig: Rig,
    annotations: dict[str, str],
    ports: list[JsonObject],
    amounts: JsonObject,
    is_native: bool,
    on_host: bool,
) -> None:
    _, namespace = _stage(rig, "annotated-pod-is-injected")
    beside = {"name": "web-80", "image": "b:1", "ports": ports}
    spec: JsonObject = {
        "containers": [{"name": "web", "image": "a:1", "resources": amounts}, beside]
    }
    if is_native:
        spec["initContainers"] = [{**beside, "name": "istio-proxy", "restartPolicy": "Always"}]
    if on_host:
        spec["hostNetwork"] = True
    asks = {"prometheus.io/scrape": "true", **annotations}
    pod = {"metadata": {"name": "web", "annotations": asks}, "spec": spec}
    try:
        expected, _ = rig.by_webhook(pod, namespace)
    except KubeError:
        reject()  # the API server always rejects it

    assert _comparable(rig.by_policy(pod, namespace), pod) == _comparable(expected, pod)
