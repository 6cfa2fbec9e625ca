"""The chart, installed on a real API server by a real Helm."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.model.access.metricaccess import parse_metric_access
from injector.model.admission.daemonsets import complete
from injector.platform.document import parse_platform
from injector.platform.settings import BackendKind
from sidecar.gateway.limit_settings import AllLimits
from sidecar.gateway.limits import TenantLimits
from sidecar.model.access.objects import Acceptance
from sidecar.model.pods.discovery_settings import OAuth2, parse_discovery_settings
from sidecar.roles.aggregate.settings import parse_aggregate_settings
from sidecar.roles.gateway.settings import GatewaySettings, parse_gateway_settings
from sidecar.scrape.pods.settings import OnConflict, PodsSettings
from tests.cluster.fixtures import CHART, CRD_PATH, Namespace, Release
from tests.cluster.versions import needs_mutating_policies, needs_validating_policies
from tests.real_parts.chart import REGISTRY
from tests.real_parts.kubernetes import helm_program
from tests.real_parts.presence import have

EVERYTHING = {
    "monitoring.dashboard.enabled": "true", "networkPolicy.enabled": "true",
    "injector.autoscaling.enabled": "true", "image.pullSecrets": "{registry}",
    "injector.priorityClassName": "high", "injector.podLabels.a": "b",
    "injector.podAnnotations.a": "b", "injector.nodeSelector.a": "b",
    "sidecar.image.digest": f"sha256:{'a' * 64}", "labels.protected": "{team}",
    "enforce.enabled": "true", "node.enabled": "true", "node.hostNetwork": "true",
    "labels.fromPods.include": "{app}", "labels.fromPods.annotations": "{owner}",
    "node.discovery.enabled": "true", "node.discovery.namespaces": "{shop}",
    "node.discovery.tls_config.min_version": "TLS13", "node.completeCgroups": "true",
    "node.tls.secretName": "tls", "node.port": "18080", "node.adminPort": "18081",
    "node.auth.allowedServiceAccounts": "{a/b.c}",
    "node.endpointRelabelings./metrics/cadvisor[0].action": "drop",
}  # fmt: skip
ALL_NODES = {
    "node.enabled": "true", "node.mode": "deployment", "node.auth.mode": "none",
    "node.viaApiserver": "true", "node.tolerations[0].operator": "Exists",
    "node.auth.from[0].namespaceSelector.matchLabels.a": "b", "node.discovery.enabled": "true",
    "node.limits.samples": "5", "node.extraArgs": "{--log-level=debug}",
    "node.extraEnv[0].name": "HTTPS_PROXY", "node.extraEnv[0].value": "http://proxy",
    "node.extraVolumes[0].name": "more", "node.extraVolumes[0].emptyDir.medium": "Memory",
    "node.extraVolumeMounts[0].name": "more", "node.extraVolumeMounts[0].mountPath": "/more",
}  # fmt: skip
AGGREGATE = {
    "aggregates[0].name": "web", "aggregates[0].selector": "app in (web\\,api)",
    "aggregates[0].namespaces": "{shop,bank}",
}  # fmt: skip
AGGREGATES = {
    **AGGREGATE, "aggregates[0].labels.pod": "k8s_pod", "aggregates[0].labels.namespace": "k8s_ns",
    "aggregates[0].labels.target": "part", "aggregates[0].upName": "pod_up",
    "aggregates[0].onConflict": "keep", "aggregates[0].timeout": "5s",
    "aggregates[0].limits.samples": "2000000", "aggregates[0].limits.bytes": "1Mi",
    "aggregates[0].limits.totalSamples": "9", "aggregates[0].limits.concurrency": "4",
    "aggregates[0].limits.labels": "9", "aggregates[0].from[0].podSelector.matchLabels.a": "b",
    "aggregates[0].replicas": "2", "aggregates[0].resources.requests.cpu": "1",
    "aggregates[0].nodeSelector.a": "b", "aggregates[0].tolerations[0].operator": "Exists",
    "aggregates[0].extraArgs": "{--log-level=debug}", "aggregates[1].name": "all",
    "aggregates[1].selector": "*", "aggregates[1].namespaces": "{*}",
}  # fmt: skip
GATEWAY = {
    "gateway.enabled": "true", "gateway.backends.static": "{http://prometheus.monitoring.svc:9090}",
}  # fmt: skip
GATEWAY_WITH_ALL = {
    **GATEWAY, "gateway.backends.discovery[0].kind": "EndpointSlice",
    "gateway.backends.discovery[0].port": "9090", "gateway.backends.discovery[1].kind": "Pod",
    "gateway.backends.discovery[1].labelSelector": "app=prometheus",
    "gateway.backends.discovery[1].annotations.a": "b",
    "gateway.backends.discovery[0].namespaces": "{somewhere}",
    "gateway.backends.discovery[1].namespaces": "{somewhere}",
    "gateway.backends.caSecret": "ca", "gateway.backends.basicAuthSecret": "login",
    "gateway.backends.fillGaps": "true", "gateway.auth.usersSecret": "users",
    "gateway.auth.mode": "trusted-header", "gateway.auth.trustedHeader.sources": "{10.0.0.0/8}",
    "gateway.refuseUnseen": "true", "gateway.limits.tenants.shop.burst": "7",
    "gateway.limits.default.rangeSeconds": "86400", "gateway.tls.secretName": "tls",
    "gateway.from[0].podSelector.matchLabels.a": "b", "gateway.autoscaling.enabled": "true",
    "gateway.tolerations[0].operator": "Exists", "gateway.extraArgs": "{--query-bytes=9}",
}  # fmt: skip
GATEWAY_PAIRS = [f"{key}={value}" for key, value in GATEWAY.items()]
SCRIPTS = CHART.parent.parent / "scripts"
OPERATOR = ("serviceMonitor", "podMonitor", "prometheusRule")
RULES = "/apis/observability.ethos.io/v1alpha1/namespaces/{}/metricaccesses"
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
ENFORCED = pytest.param(EVERYTHING, marks=needs_validating_policies)
BY_POLICY = pytest.param({"injection.mode": "policy"}, marks=needs_mutating_policies)


def _render(*arguments: str, **values: str) -> list[JsonObject]:
    pairs = [f"--set={name}={value}" for name, value in values.items()]
    ran = _helm("template", "livery", str(CHART), *pairs, *arguments)
    assert ran.returncode == 0, ran.stderr
    return [item for item in yaml.safe_load_all(ran.stdout) if item]


def _node_object(kind: str, **values: str) -> JsonObject:
    """Return the node role's object of a kind."""
    rendered = _render(**{"node.enabled": "true", **values})
    own = [item for item in rendered if item["metadata"]["name"] == "livery-node"]
    (found,) = [item for item in own if item["kind"] == kind]
    return found


def _helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    registry = REGISTRY if arguments[0] == "template" else ()
    command = [str(have(helm_program)), *arguments[:3], *registry, *arguments[3:]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _path(client: KubeClient, obj: JsonObject, namespace: str) -> str:
    """Return the path at which an object is created, according to API discovery."""
    version = obj["apiVersion"]
    group = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    resources = client.request("GET", group)["resources"]
    found = next(
        item for item in resources if item["kind"] == obj["kind"] and "/" not in item["name"]
    )
    inside = f"/namespaces/{namespace}" if found["namespaced"] else ""
    return f"{group}{inside}/{found['name']}"


def test_helm_finds_nothing_to_say_of_the_chart() -> None:
    ran = _helm("lint", "--strict", str(CHART))

    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    "values",
    [{}, ENFORCED, {"injection.mode": "none"}, BY_POLICY,
     pytest.param({"injection.mode": "policy", "control.enabled": "false"},
                  marks=needs_mutating_policies),
     {"certificates.mode": "provided", "certificates.secretName": "tls"}, ALL_NODES,
     AGGREGATES, GATEWAY_WITH_ALL],
)  # fmt: skip
def test_the_api_server_takes_every_object_strictly(
    client: KubeClient, namespace: Namespace, values: dict[str, str]
) -> None:
    for obj in _render("--namespace", namespace.name, **values):
        obj["metadata"].pop("namespace", None)
        path = _path(client, obj, namespace.name)
        client.request("POST", path, query=STRICT, body=obj)


@pytest.mark.parametrize("values", [ENFORCED, ALL_NODES, AGGREGATES, GATEWAY_WITH_ALL, BY_POLICY])
def test_every_object_names_its_namespace(client: KubeClient, values: dict[str, str]) -> None:
    for obj in _render("--namespace", "somewhere", "--no-hooks", **values):
        is_inside = "/namespaces/" in _path(client, obj, "somewhere")
        assert obj["metadata"].get("namespace") == ("somewhere" if is_inside else None), obj["kind"]


def test_the_file_for_people_without_helm_makes_its_namespace_and_fills_it(
    client: KubeClient,
) -> None:
    command = [str(SCRIPTS / "install-yaml.sh"), str(have(helm_program)), str(CHART)]
    command += ["registry.example/livery"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *others = [item for item in yaml.safe_load_all(ran.stdout) if item]
    inside = [item for item in others if "/namespaces/" in _path(client, item, "any")]

    assert (first["kind"], first["metadata"]) == ("Namespace", {"name": "livery-system"})
    assert {item["metadata"]["namespace"] for item in inside} == {"livery-system"}
    assert "helm.sh/hook" not in ran.stdout
    assert 'image: "registry.example/livery/livery-injector:' in ran.stdout


@pytest.mark.parametrize("secrets", [[], ["registry", "other"]])
def test_a_five_line_daemon_set_is_prepared_to_what_the_chart_renders(secrets: list[str]) -> None:
    given = {f"image.pullSecrets[{at}]": name for at, name in enumerate(secrets)}
    whole = _node_object("DaemonSet", **given)
    image = {"reference": "localhost/livery-sidecar:0.1.0", "pullSecrets": secrets}
    control = {"url": "https://livery-injector.default.svc:8444"}
    platform = parse_platform({"image": image, "control": control})
    completed = complete({"template": {}}, "node-proxy", platform, "PEM")

    assert _comparable(completed) == _comparable(whole["spec"])


def _comparable(spec: JsonObject) -> JsonObject:
    """Leave out names, and how the pod gets the control service's CA.

    In the chart's namespace, the CA is in a ConfigMap; elsewhere, the webhook adds it.
    """
    copied: JsonObject = json.loads(json.dumps(spec))
    del copied["selector"], copied["template"]["metadata"]["labels"]
    pod = copied["template"]["spec"]
    (container,) = pod["containers"]
    ways = {"LIVERY_CONTROL_CA", "LIVERY_CONTROL_CA_FILE", "LIVERY_CONTROL_ADDRESS"}
    container["env"] = [item for item in container["env"] if item["name"] not in ways]
    container["volumeMounts"] = [
        item for item in container["volumeMounts"] if item["name"] != "authorities"
    ]
    pod["volumes"] = [item for item in pod["volumes"] if item["name"] != "authorities"]
    return copied


def test_what_operators_read_is_rendered_where_it_is_asked_for() -> None:
    values = {f"monitoring.{name}.enabled": "true" for name in OPERATOR}
    kinds = {item["kind"]: item for item in _render(**values)}
    places = {kinds[kind]["metadata"]["namespace"] for kind in ("ServiceMonitor", "PodMonitor")}
    alerts = yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())

    text = json.dumps(kinds["PrometheusRule"]["spec"])
    own = ('job=\\"livery-injector\\",namespace=\\"default\\"', 'job=\\"livery-injector\\"')
    assert json.loads(text.replace(*own)) == json.loads(json.dumps(alerts).replace("job=~", "job="))
    assert 'namespace=\\"default\\"' in text
    assert kinds["PodMonitor"]["spec"]["selector"]["matchExpressions"][0]["key"] == (
        "livery.dev/proxy"
    )
    assert places == {"default"}
    assert kinds["PrometheusRule"]["metadata"]["namespace"] == "default"


@pytest.mark.parametrize(
    "value",
    ["nonsense=1", "injector.replicas=0", "injection.mode=maybe", "labels.protected=team",
     "sidecar.image.digest=abc", "image.registry=a/", "node.mode=both",
     "node.discovery.uri=x", "node.discovery.tls_config.min_version=SSL3"],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(value: str) -> None:
    ran = _helm("template", "livery", str(CHART), "--set", value)

    assert ran.returncode != 0
    assert value.partition("=")[0].rpartition(".")[2] in ran.stderr


def test_node_proxies_ask_for_pods_only_where_that_is_wanted_and_never_for_more() -> None:
    def rights(**values: str) -> list[str]:
        rules = _node_object("ClusterRole", **values)["rules"]
        assert {verb for rule in rules for verb in rule["verbs"]} <= {"get"}
        return [resource for rule in rules for resource in rule["resources"]]

    assert rights() == ["nodes/metrics"]
    for value in ("node.discovery.enabled", "node.completeCgroups"):
        assert rights(**{value: "true"}) == ["nodes/metrics", "nodes/pods"]
    assert rights(**{"labels.fromPods.include": "{app}"}) == ["nodes/metrics", "nodes/pods"]
    assert rights(**{"node.viaApiserver": "true"}) == []


def test_arguments_of_discovery_are_read_as_they_are_given() -> None:
    given = {"namespaces": "{shop,bank}", "refresh_interval": "10s", "oauth2.client_id": "me",
             "oauth2.token_url": "https://id", "oauth2.scopes": "{a}"}  # fmt: skip
    values = {f"node.discovery.{name}": value for name, value in given.items()}
    rendered = _render(**{"node.enabled": "true", "node.discovery.enabled": "true"}, **values)
    (secret,) = [item for item in rendered if item["metadata"]["name"] == "livery-discovery"]

    settings = parse_discovery_settings(json.loads(secret["stringData"]["discovery.json"]))

    assert (settings.namespaces, settings.refresh_interval_seconds) == (("shop", "bank"), 10)
    assert settings.oauth2 == OAuth2(client_id="me", token_url="https://id", scopes=("a",))


def test_the_deployment_serves_all_nodes_and_stays_on_none_that_is_gone() -> None:
    template = _node_object("Deployment", **ALL_NODES)["spec"]["template"]
    service, policy = [_node_object(kind, **ALL_NODES) for kind in ("Service", "NetworkPolicy")]
    pod = template["spec"]

    assert "tolerations" not in pod
    assert {"--all-nodes", "--via-apiserver", "--auth=none"} <= set(pod["containers"][0]["args"])
    labels = template["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_the_service_of_all_nodes_leads_to_no_daemon_set_s_pod() -> None:
    template = _node_object("DaemonSet")["spec"]["template"]
    service = _node_object("Service", **ALL_NODES)

    assert not service["spec"]["selector"].items() <= template["metadata"]["labels"].items()


_PROVIDED = ["certificates.mode=provided", "certificates.secretName=theirs"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["node.enabled=true", "control.enabled=false"], "node.enabled needs control.enabled"),
        (["node.enabled=true", "node.auth.mode=none"], "node.auth.mode none needs node.auth.from"),
        (["certificates.publish=false"], "certificates.publish: false needs certificates.mode"),
        ([*_PROVIDED, "certificates.publish=false"], "needs certificates.caBundle (--set-file"),
        (
            [*_PROVIDED, "certificates.publish=false", "certificates.caBundle=abc"],
            "certificates.caBundle is not a PEM certificate",
        ),
        (
            [*(f"{key}={value}" for key, value in AGGREGATE.items()), "control.enabled=false"],
            "aggregates need control.enabled",
        ),
        (
            [f"{key.replace('0', at)}={value}" for at in "01" for key, value in AGGREGATE.items()],
            "the name web is used twice",
        ),
        (
            [
                *(f"{key}={value}" for key, value in AGGREGATE.items()),
                "aggregates[0].replicas=2",
                "aggregates[0].serviceMonitor.enabled=true",
            ],
            "web has 2 replicas and a ServiceMonitor",
        ),
        ([*GATEWAY_PAIRS, "control.enabled=false"], "gateway.enabled needs control.enabled"),
        (["gateway.enabled=true"], "gateway.enabled needs a Prometheus"),
        (
            [*GATEWAY_PAIRS, "gateway.auth.mode=trusted-header"],
            "trusted-header needs gateway.auth.trustedHeader.sources",
        ),
        (
            [
                *GATEWAY_PAIRS,
                "gateway.backends.tokenSecret=a",
                "gateway.backends.basicAuthSecret=b",
            ],
            "tokenSecret and basicAuthSecret must not both be set",
        ),
        (
            [
                "gateway.enabled=true",
                "gateway.backends.tokenSecret=a",
                "gateway.backends.discovery[0].labelSelector=a=b",
            ],
            "needs namespaces if tokenSecret or basicAuthSecret",
        ),
        (["enforce.optOut=refuse"], "has no effect without enforce.enabled: true"),
    ],
)
def test_values_that_cannot_be_together_are_refused_with_what_is_needed(
    values: list[str], reason: str
) -> None:
    ran = _helm("template", "livery", str(CHART), *(f"--set={value}" for value in values))

    assert reason in ran.stderr


def test_annotated_pods_are_those_that_need_no_token() -> None:
    shown = {"node.auth.mode": "none", "node.auth.from[0].podSelector.matchLabels.a": "b"}
    for values, annotated in (({}, False), (shown, True)):
        template = _node_object("DaemonSet", **values)["spec"]["template"]
        annotations = template["metadata"].get("annotations", {})
        assert (annotations.get("prometheus.io/path") == "/metrics/cadvisor") is annotated


def test_a_provided_certificate_needs_a_secret_and_an_old_cluster_no_policy() -> None:
    ran = _helm("template", "livery", str(CHART), "--set", "certificates.mode=provided")
    old = _helm(
        "template", "livery", str(CHART), "--kube-version=1.35.0", "--set=injection.mode=policy"
    )

    assert "secretName" in ran.stderr
    assert "injection.mode policy needs Kubernetes 1.36" in old.stderr


@needs_mutating_policies
def test_a_policy_without_a_control_service_needs_no_pod_of_ours() -> None:
    kinds = {
        item["kind"] for item in _render(**{"injection.mode": "policy", "control.enabled": "false"})
    }

    assert kinds == {
        "CustomResourceDefinition", "DaemonSet", "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }  # fmt: skip


def test_the_settings_are_what_the_values_say() -> None:
    maps = {item["metadata"]["name"]: item for item in _render(**EVERYTHING)
            if item["kind"] == "ConfigMap"}  # fmt: skip
    platform = parse_platform(yaml.safe_load(maps["livery-platform"]["data"]["platform.yaml"]))

    assert platform.labels.protected == {"team"}
    assert platform.image == f"localhost/livery-sidecar@sha256:{'a' * 64}"
    assert platform.image_pull_secrets == ("registry",)
    assert platform.control is not None
    assert platform.control.url == "https://livery-injector.default.svc:8444"


def test_an_aggregate_s_arguments_are_read_as_the_values_say() -> None:
    settings = {}
    for item in _render(**AGGREGATES):
        if item["kind"] == "Deployment" and "-aggregate-" in item["metadata"]["name"]:
            (container,) = item["spec"]["template"]["spec"]["containers"]
            environment = {pair["name"]: pair["value"] for pair in container["env"]}
            read = parse_aggregate_settings(container["args"], environment)
            settings[item["metadata"]["name"]] = read
    web, everything = settings["livery-aggregate-web"], settings["livery-aggregate-all"]

    assert web.selector.matches({"app": "api"})
    assert not web.selector.matches({"app": "db"})
    assert web.namespaces == ("shop", "bank")
    assert web.names.identity == ("k8s_ns", "k8s_pod")
    assert (web.names.target_label, web.names.up_name) == ("part", "pod_up")
    assert web.names.on_conflict is OnConflict.KEEP
    assert (web.limits.target.samples, web.limits.samples) == (2_000_000, 9)
    assert (web.limits.target_bytes, web.timeout_seconds) == (1 << 20, 5)
    assert everything.selector.matches({})
    assert (everything.namespaces, everything.names) == ((), PodsSettings())


def test_an_aggregate_of_the_chart_is_granted_the_namespaces_of_its_values() -> None:
    given = {"control.grants.aggregates[0].serviceAccount": "monitoring/own",
             "control.grants.aggregates[0].namespaces": "{lab}"}  # fmt: skip
    (text,) = [item["data"]["platform.yaml"] for item in _render(**AGGREGATES, **given)
               if item["metadata"]["name"] == "livery-platform"]  # fmt: skip

    assert parse_platform(yaml.safe_load(text)).aggregates == {
        "monitoring/own": ("lab",),
        "default/livery-aggregate-web": ("shop", "bank"),
        "default/livery-aggregate-all": ("*",),
    }


def _gateway(tmp_path: Path, **values: str) -> GatewaySettings:
    """Read the gateway's settings as its pod would."""
    found = {(item["kind"], item["metadata"]["name"]): item for item in _render(**values)}
    (tmp_path / "limits").write_text(found["ConfigMap", "livery-gateway"]["data"]["limits.yaml"])
    pod = found["Deployment", "livery-gateway"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {pair["name"]: pair["value"] for pair in container["env"] if "value" in pair}
    arguments = [
        f"--limits={tmp_path / 'limits'}" if text.startswith("--limits=") else text
        for text in container["args"]
    ]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    files = [text.partition("=")[2] for text in container["args"] if "/etc/livery/" in text]
    assert {path.rpartition("/")[0] for path in files} <= mounted
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    return parse_gateway_settings(arguments, environment)


def test_the_gateway_s_arguments_are_read_as_the_values_say(tmp_path: Path) -> None:
    plain, full = _gateway(tmp_path, **GATEWAY), _gateway(tmp_path, **GATEWAY_WITH_ALL)

    assert plain.backends == ("http://prometheus.monitoring.svc:9090",)
    assert plain.limits == AllLimits(TenantLimits(), {})
    assert (plain.users_file, plain.trusted_sources, plain.certificate) == (None, (), None)
    assert (plain.timeout_seconds, plain.max_policy_age_seconds, plain.active) == (30, 600, 100)
    assert not plain.fills_gaps
    assert full.fills_gaps
    assert full.refuses_unseen
    assert full.limits.tenants["shop"].burst == 7
    assert full.limits.tenants["shop"].range_seconds == 86400
    assert full.trusted_header == "x-tenant-namespace"
    assert [str(source) for source in full.trusted_sources] == ["10.0.0.0/8"]
    assert full.backend.basic is not None
    assert full.backend.ca_file is not None
    assert full.certificate is not None


def test_the_injector_is_told_of_the_gateway_and_where_its_backends_are() -> None:
    platform = parse_platform(yaml.safe_load(_platform_text(**GATEWAY_WITH_ALL)))

    assert platform.gateways == ("default/livery-gateway",)
    assert [(item.kind, item.port) for item in platform.backends] == [
        (BackendKind.ENDPOINT_SLICE, "9090"), (BackendKind.POD, ""),
    ]  # fmt: skip
    assert parse_platform(yaml.safe_load(_platform_text())).backends == ()


def _platform_text(**values: str) -> str:
    (text,) = [
        item["data"]["platform.yaml"]
        for item in _render(**values)
        if item["metadata"]["name"] == "livery-platform"
    ]
    return str(text)


def test_the_injector_may_look_for_backends_there_and_nowhere_else() -> None:
    values = {
        **GATEWAY, "gateway.backends.discovery[0].namespaces": "{monitoring,other}",
        "gateway.backends.discovery[1].namespaces": "{monitoring}",
        "gateway.backends.discovery[1].kind": "EndpointSlice",
    }  # fmt: skip
    roles = {
        (item["kind"], item["metadata"].get("namespace")): [
            resource for rule in item["rules"] for resource in rule["resources"]
        ]
        for item in _render(**values)
        if item["metadata"]["name"] == "livery-injector-backends" and "rules" in item
    }

    assert roles == {
        ("Role", "monitoring"): ["services", "endpointslices"], ("Role", "other"): ["services"],
    }  # fmt: skip


def test_every_pod_of_the_chart_runs_in_a_restricted_namespace(
    client: KubeClient, namespace: Namespace
) -> None:
    namespace.label(**{"pod-security.kubernetes.io/enforce": "restricted"})
    namespace.create("serviceaccounts", "livery-injector")
    pods = 0
    namespace.create("serviceaccounts", "livery-node")
    namespace.create("serviceaccounts", "livery-aggregate-web")
    namespace.create("serviceaccounts", "livery-gateway")
    values = {"node.enabled": "true", **AGGREGATE, **GATEWAY}
    for obj in _render("--namespace", namespace.name, **values):
        template = obj if obj["kind"] == "Pod" else obj.get("spec", {}).get("template")
        if template is None:
            continue
        pod = {"metadata": {"name": "pod"}, "spec": template["spec"]}
        client.request("POST", f"{namespace.path}/pods", query=STRICT, body=pod)
        pods += 1
    assert pods == 6


@pytest.fixture
def crd(release: Release) -> str:
    """The path of MetricAccess objects in the release's namespace."""
    return RULES.format(release.own.name)


def _objects() -> list[JsonObject]:
    text = (Path(__file__).parent / "seed_objects.yaml").read_text()
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("obj", _objects(), ids=lambda obj: str(obj["metadata"]["name"]))
def test_objects_of_the_first_implementation_are_taken_unchanged(
    client: KubeClient, crd: str, obj: JsonObject
) -> None:
    written = client.request("POST", crd, query={"fieldValidation": "Strict"}, body=obj)

    assert written["spec"] == obj["spec"]
    access = parse_metric_access(written)
    assert (access.acceptance, access.remote_write_error) == (Acceptance.ACCEPTED, "")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "spec.metrics: Required"),
        ({"metrics": []}, "spec.metrics"),
        ({"metrics": ["x" * 5000]}, "spec.metrics[0]: Too long"),
        ({"metrics": ["up"], "remoteWrite": {"enabled": True}}, "remoteWrite.target is required"),
        ({"metrics": ["up"], "remoteWrite": {"interval": "often"}}, "spec.remoteWrite.interval"),
        ({"metrics": ["up"], "remoteWrite": {"target": {"type": "kafka"}}}, "Unsupported value"),
        ({"metrics": ["up"], "remoteWrite": {"enabled": True, "target": {"type": "remote_write"}}},
         "requires the block remoteWrite"),
        ({"metrics": ["up"], "remoteWrite": {"metricRelabelings": [{"action": "explode"}]}},
         "metricRelabelings[0].action"),
        ({"metrics": ["up"], "metric": 1}, 'unknown field "spec.metric"'),
    ],
)  # fmt: skip
def test_what_a_schema_can_say_is_said_by_the_api_server(
    client: KubeClient, crd: str, spec: dict[str, Any], says: str
) -> None:
    obj = {
        "apiVersion": "observability.ethos.io/v1alpha1", "kind": "MetricAccess",
        "metadata": {"name": "wrong"}, "spec": spec,
    }  # fmt: skip
    with pytest.raises(KubeError) as caught:
        client.request("POST", crd, query={"fieldValidation": "Strict"}, body=obj)

    assert caught.value.status in (400, 422)
    assert says in str(caught.value)


def test_an_upgrade_keeps_what_the_injector_wrote_and_the_end_leaves_objects_and_the_ca(
    client: KubeClient, release: Release
) -> None:
    secret = f"{release.own.path}/secrets/{release.name}-ca"
    webhooks = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{release.name}"
    merge = "application/merge-patch+json"
    client.request("PATCH", secret, body={"data": {"authorities.json": "e30="}}, content_type=merge)
    release.helm("upgrade", release.name, str(CHART), "--set", "injector.replicas=3")
    assert client.request("GET", secret)["data"] == {"authorities.json": "e30="}

    release.helm("uninstall", release.name)
    with pytest.raises(KubeError) as caught:
        client.request("GET", webhooks)
    assert caught.value.status == 404
    assert client.request("GET", CRD_PATH)
    release.helm("install", release.name, str(CHART), "--set", "crds.enabled=false")
    # Running pods trust it: a new installation continues to use it.
    assert client.request("GET", secret)["data"] == {"authorities.json": "e30="}


def test_a_ca_that_is_not_to_be_kept_goes_with_the_chart() -> None:
    def annotations(**values: str) -> object:
        secrets = [item for item in _render(**values) if item["kind"] == "Secret"]
        return secrets[0]["metadata"].get("annotations")

    assert annotations() == {"helm.sh/resource-policy": "keep"}
    assert annotations(**{"certificates.keep": "false"}) is None


def test_every_field_of_a_metric_access_is_described_and_its_state_is_a_column(
    client: KubeClient, release: Release
) -> None:
    (version,) = client.request("GET", CRD_PATH)["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]["properties"]
    undescribed = [path for path in ("spec", "status") for path in _undescribed(root[path], path)]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]

    assert undescribed == []
    assert columns == ["Accepted", "Ready", "Reason", "Lag", "Isolated", "Writes", "Age"]


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the fields of a schema that have no description."""
    if not schema.get("description"):
        yield path
    inner = dict(schema.get("properties") or {})
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            inner[name] = schema[name]
    for name, field in inner.items():
        yield from _undescribed(field, f"{path}.{name}")
