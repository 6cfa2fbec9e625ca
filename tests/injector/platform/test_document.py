from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.errors import SettingsError
from injector.platform.document import parse_platform
from injector.platform.settings import (
    BackendDiscovery,
    BackendKind,
    Collect,
    ControlAddress,
    Platform,
    RemoteWriteSettings,
)
from tests.injector.model.pods import JSON

_WHOLE: dict[str, Any] = {
    "image": {"reference": "r/i:1", "pullPolicy": "Always", "pullSecrets": ["s"]},
    "ownNamespace": "livery",
    "labels": {"include": ["*"], "exclude": [], "rename": {"a": "b"}, "prefix": "ns_",
               "protected": ["team"]},
    "exposition": {"metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
                   "targetLabel": "target"},
    "access": {"crossNamespace": {"a": ["b", "*"]}, "grantsFromAnnotations": True,
               "allNamespaces": True},
    "control": {"url": "https://c:1", "address": "10.0.0.1", "enabled": True,
                "grants": {"exporters": ["kube/state"],
                           "aggregates": [{"serviceAccount": "m/a", "namespaces": ["shop"]},
                                          {"serviceAccount": "m/a", "namespaces": ["*"]}]}},
    "gateway": {"backends": [{"kind": "Pod", "namespaces": ["m"], "labelSelector": "app=p",
                              "annotations": {"a": "b"}, "port": 9090, "scheme": "https",
                              "path": "/x/"}, {"port": "web"}]},
    "remoteWrite": {"collect": "prometheus", "defaultExtraLabels": {"a": "b"},
                    "allowedRanges": ["10.0.0.0/8"], "clusterDomain": "corp",
                    "secretNamespaces": ["shop"], "requireSecretConsent": False},
}  # fmt: skip


@pytest.mark.parametrize("value", [None, {}, {"image": None, "labels": {}, "control": None}])
def test_nothing_gives_the_defaults(value: object) -> None:
    assert parse_platform(value) == Platform()


def test_everything_is_read() -> None:
    platform = parse_platform(_WHOLE)

    assert (platform.image, platform.image_pull_policy) == ("r/i:1", "Always")
    assert platform.image_pull_secrets == ("s",)
    assert platform.control == ControlAddress(url="https://c:1", address="10.0.0.1")
    assert platform.cross_namespace == {"a": ("b", "*")}
    assert platform.exporters == ("kube/state",)
    assert platform.aggregates == {"m/a": ("shop", "*")}
    assert platform.backends == (
        BackendDiscovery(
            kind=BackendKind.POD, namespaces=("m",), label_selector="app=p",
            annotations={"a": "b"}, port="9090", scheme="https", path="/x",
        ),
        BackendDiscovery(port="web"),
    )  # fmt: skip
    assert (platform.labels.exclude, platform.labels.protected) == ((), frozenset(["team"]))
    assert platform.target_label == "target"
    assert platform.remote_write == RemoteWriteSettings(
        collect=Collect.PROMETHEUS, default_extra_labels={"a": "b"}, allowed_ranges=("10.0.0.0/8",),
        cluster_domain="corp", secret_namespaces=("shop",), requires_secret_consent=False,
    )  # fmt: skip


def test_a_control_service_can_be_switched_off() -> None:
    assert parse_platform({"control": {"enabled": False}}).control is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"images": {}}, "images: not a setting"),
        ({"image": {"tag": "1"}}, "image.tag: not a setting"),
        ({"labels": {"includes": []}}, "labels.includes: not a setting"),
        ({"exposition": {"x": 1}}, "exposition.x"),
        ({"access": {"seedcompatible": True}}, "access.seedcompatible"),
        ({"control": {"grants": {"others": []}}}, "control.grants.others"),
        ({"control": {"grants": {"nodes": ["node"]}}},
         "control.grants.nodes: 'node' is not of the form NAMES"),
        ({"control": {"grants": {"aggregates": [{"serviceAccount": "a"}]}}},
         "control.grants.aggregates[0].serviceAccount: "
         "'a' is not of the form NAMESPACE/SERVICEACCOUNT"),
        ({"control": {"grants": {"aggregates": [{"serviceAccount": "m/a", "namespaces": ["A"]}]}}},
         "control.grants.aggregates[0].namespaces: 'A' is not a namespace or *"),
        ({"control": {"grants": {"aggregates": [{"account": "m/a"}]}}},
         "control.grants.aggregates[0].account: not a setting"),
        ({"gateway": {"backend": []}}, "gateway.backend: not a setting"),
        ({"gateway": {"backends": [{"kind": "Node"}]}},
         "gateway.backends[0].kind: must be one of Service, Pod, EndpointSlice"),
        ({"gateway": {"backends": [{"scheme": "ftp"}]}},
         "gateway.backends[0].scheme: must be http"),
        ({"gateway": {"backends": [{"namespaces": ["A"]}]}}, "'A' is not a namespace"),
        ({1: 2}, "1: not a setting"),
        ([], "a mapping is needed"),
        ("x", "a mapping is needed"),
        ({"image": []}, "image: a mapping"),
        ({"image": {"reference": 1}}, "image.reference: a string"),
        ({"image": {"reference": ""}}, "image.reference: must not be empty"),
        ({"image": {"pullPolicy": "always"}}, "image.pullPolicy: must be one of"),
        ({"image": {"pullSecrets": "s"}}, "image.pullSecrets: a list of strings"),
        ({"ownNamespace": ""}, "ownNamespace: must not be empty"),
        ({"labels": {"include": "*"}}, "labels.include"),
        ({"labels": {"rename": {"a": 1}}}, "labels.rename.a"),
        ({"labels": {"protected": [1]}}, "labels.protected"),
        ({"exposition": {"metricRelabelings": [{"action": "x"}]}},
         "exposition.metricRelabelings[0].action"),
        ({"exposition": {"targetLabel": 1}}, "exposition.targetLabel"),
        ({"access": {"crossNamespace": []}}, "access.crossNamespace: a mapping"),
        ({"access": {"crossNamespace": {"a": "*"}}}, "access.crossNamespace.a: a list of strings"),
        ({"access": {"allNamespaces": "yes"}}, "access.allNamespaces: true or false"),
        ({"control": {"enabled": "no"}}, "control.enabled: true or false"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_named(value: object, names: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_platform(value)

    assert names in str(caught.value)


@given(JSON | st.dictionaries(st.sampled_from(list(_WHOLE)), JSON | st.sampled_from(
    list(_WHOLE.values()))))  # fmt: skip
def test_nothing_else_than_a_settings_error_is_raised(value: object) -> None:
    with suppress(SettingsError):
        parse_platform(value)


@pytest.mark.parametrize(
    "expression",
    [
        {"key": 5, "operator": "Exists"}, {"key": "a"}, {"key": "a", "operator": "Is"},
        {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["b"]},
        {"key": "a", "operator": "In", "values": "b"}, "a",
    ],
)  # fmt: skip
def test_a_selector_that_would_judge_each_pod_malformed_is_refused(expression: object) -> None:
    for name in ("namespaceSelector", "objectSelector"):
        document = {"webhook": {name: {"matchExpressions": [expression]}}}
        with pytest.raises(SettingsError, match=rf"webhook\.{name}\.matchExpressions: must be"):
            parse_platform(document)


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        ({"resources": {"limits": {"memory": "64"}}}, "64 is not from 24Mi to 1Ti"),
        ({"resources": {"requests": {"cpu": "100"}}}, "'100' is not an amount such as 250m"),
        ({"extraEnv": {"LIVERY_CONTROL_URL": "x"}}, "LIVERY_CONTROL_URL is set by the injector"),
        ({"extraEnv": {"a b": "x"}}, "'a b' is not the name of a variable"),
    ],
)
def test_a_default_that_would_break_every_pod_is_refused(
    sidecar: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_platform({"sidecar": sidecar})


@pytest.mark.parametrize("image", ["x y", " r/x:1", "x:1\n", "https://r/x:1", "r/X:1", ""])
def test_an_image_that_no_pod_could_run_is_refused(image: str) -> None:
    with pytest.raises(SettingsError, match=r"image\.reference"):
        parse_platform({"image": {"reference": image}})


def test_a_limit_out_of_range_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingsError, match=r"exposition\.limits\.bytes: .*536870912"):
        parse_platform({"exposition": {"limits": {"bytes": "1Gi"}}})
