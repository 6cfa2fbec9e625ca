import copy
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from injector.errors import ObjectError
from injector.model.admission.daemonsets import prepare
from injector.model.admission.outcomes import Reason
from injector.platform.settings import Platform
from tests.injector.model.pods import JSON
from tests.injector.webhook import apply

Json = dict[str, Any]
_LABELS = {"livery.dev/role": "node"}


def _daemonset(spec: object, **metadata: Any) -> Json:
    return {"metadata": {"name": "np", "labels": _LABELS, **metadata}, "spec": spec}


def _prepare(daemonset: Json, platform: Platform | None = None) -> Json:
    _, operations = prepare(daemonset, platform or Platform(), "PEM")
    return apply(daemonset, operations)


def _of(**pod: Any) -> Json:
    """Return the pod spec of a prepared DaemonSet whose pod spec had these fields."""
    prepared: Json = _prepare(_daemonset({"template": {"spec": pod}}))["spec"]["template"]["spec"]
    return prepared


def _proxy(**fields: Any) -> Json:
    container: Json = _of(containers=[{"name": "livery-proxy", **fields}])["containers"][0]
    return container


@pytest.mark.parametrize(
    "spec",
    [{"template": {}}, {}, None, {"template": None}, {"selector": None, "template": {"spec": None}},
     {"template": {"metadata": {"labels": None}, "spec": {"containers": []}}}],
    ids=str,
)  # fmt: skip
def test_every_way_to_say_nothing_gives_the_same_whole_proxy(spec: object) -> None:
    assert _prepare(_daemonset(spec)) == _prepare(_daemonset({"template": {}}))


@pytest.mark.parametrize("role", [None, "", "pod", "aggregate", "gateway", "Node"])
def test_another_role_is_not_prepared(role: str | None) -> None:
    labels = {} if role is None else {"livery.dev/role": role}

    assert prepare(_daemonset({}, labels=labels), Platform()) == (Reason.NOT_A_PROXY, [])


def test_the_selector_fits_the_template() -> None:
    spec = _prepare(_daemonset({"template": {"metadata": {"labels": {"a": "b"}}}}))["spec"]

    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_a_selector_that_is_set_gives_the_template_its_labels() -> None:
    spec = _prepare(_daemonset({"selector": {"matchLabels": {"app": "x"}}}))["spec"]

    assert spec["selector"] == {"matchLabels": {"app": "x"}}
    assert spec["template"]["metadata"]["labels"] == {"app": "x", "livery.dev/proxy": "node"}


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ({"image": "mine:1"}, {"image": "mine:1"}),
        ({"args": ["--role", "node", "--x"]}, {"args": ["--role", "node", "--x"]}),
        ({"resources": {}}, {"resources": {}}),
        ({"imagePullPolicy": "Never"}, {"imagePullPolicy": "Never"}),
        ({"command": ["sh"]}, {"command": ["sh"]}),
    ],
    ids=str,
)
def test_what_the_container_says_stays(fields: Json, stays: Json) -> None:
    assert stays.items() <= _proxy(**fields).items()


def test_a_variable_that_is_set_stays_whole() -> None:
    environment = {
        item["name"]: item for item in _proxy(env=[{"name": "NODE_NAME", "value": "n"}])["env"]
    }

    assert environment["NODE_NAME"] == {"name": "NODE_NAME", "value": "n"}
    assert "valueFrom" in environment["NODE_IP"]


def test_a_port_that_is_declared_is_not_declared_twice() -> None:
    ports = _proxy(ports=[{"name": "metrics", "containerPort": 8080}])["ports"]

    assert [port["containerPort"] for port in ports] == [8080, 8081]


def test_a_path_that_is_mounted_is_not_mounted_twice() -> None:
    mount = {"name": "mine", "mountPath": "/var/run/secrets/livery"}

    assert _proxy(volumeMounts=[mount])["volumeMounts"] == [mount]


def test_a_volume_that_is_there_stays_whole() -> None:
    volumes = [{"name": "livery-token", "secret": {"secretName": "s"}}]

    assert _of(volumes=volumes)["volumes"] == volumes


@pytest.mark.parametrize(
    ("field", "value"),
    [("serviceAccountName", "mine"), ("tolerations", []), ("hostNetwork", True), ("future", 1)],
)
def test_what_the_pod_says_stays(field: str, value: object) -> None:
    assert _of(**{field: value})[field] == value


def test_containers_of_others_stay_first() -> None:
    containers = _of(containers=[{"name": "other", "env": []}])["containers"]

    assert [item["name"] for item in containers] == ["other", "livery-proxy"]
    assert containers[0] == {"name": "other", "env": []}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([], "spec"),
        ({"template": []}, "spec.template"),
        ({"template": {"metadata": 1}}, "spec.template.metadata"),
        ({"template": {"metadata": {"labels": "x"}}}, "spec.template.metadata.labels"),
        ({"template": {"spec": {"containers": {}}}}, "spec.template.spec.containers"),
        ({"selector": {"matchLabels": []}}, "spec.selector.matchLabels"),
    ],
    ids=str,
)
def test_a_malformed_field_is_named(spec: object, field: str) -> None:
    with pytest.raises(ObjectError) as caught:
        prepare(_daemonset(spec), Platform())

    assert caught.value.field == field


_FIELDS = st.sampled_from(
    ["selector", "template", "metadata", "spec", "labels", "matchLabels", "containers", "volumes",
     "env", "ports", "name", "securityContext", "updateStrategy"]
)  # fmt: skip
_SPECS = st.dictionaries(
    _FIELDS,
    st.recursive(
        JSON | st.just("livery-proxy"),
        lambda inner: st.dictionaries(_FIELDS, inner, max_size=4) | st.lists(inner, max_size=2),
        max_leaves=12,
    ),
    max_size=3,
)


@given(_SPECS)
def test_a_completed_object_is_completed_to_itself(spec: Json) -> None:
    prepared = _prepare_or_reject(spec)

    assert prepare(prepared, Platform(), "PEM") == (Reason.PREPARED, [])


@given(_SPECS)
def test_nothing_that_is_set_is_lost(spec: Json) -> None:
    prepared = _prepare_or_reject(copy.deepcopy(spec))

    assert _is_within(spec, prepared["spec"])


def _prepare_or_reject(spec: Json) -> Json:
    try:
        return _prepare(_daemonset(spec))
    except ObjectError:
        reject()


def _is_within(small: object, large: object) -> bool:
    if isinstance(small, dict) and isinstance(large, dict):
        return all(key in large and _is_within(small[key], large[key]) for key in small)
    if isinstance(small, list) and isinstance(large, list):
        return all(any(_is_within(item, other) for other in large) for item in small)
    return small is None or small == large or small == {}
