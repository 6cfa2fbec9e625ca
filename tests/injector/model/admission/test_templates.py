"""Templates: the settings written into a pod reach the proxy unchanged."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.admission.exposition import ExpositionSettings
from injector.model.admission.templates import (
    PodProxy,
    render_bootstrap,
    render_container,
    render_token_volume,
    template_hash,
)
from injector.model.cluster.names import SERVICE_ACCOUNT_DIRECTORY, TOKEN_AUDIENCE
from injector.platform.settings import ControlAddress, Platform
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.targets import Target
from sidecar.roles.pod.settings import PodSettings, parse_pod_settings

PLATFORM = Platform(labels=LabelRules(rename={"app": "$(HOME)"}, protected=frozenset(["b", "a"])))
PROXY = PodProxy(
    exposition=ExpositionSettings((), "", {}),
    targets=(Target("web", "http", "", 8080, "/metrics"),),
    port=16092,
    admin_port=16093,
    is_native=True,
    resources={"limits": {"cpu": "1"}},
    run_as_user=None,
    filters=True,
    namespace_label="namespace",
    job="web",
    namespace_labels={"team": "a"},
    token_volume="livery-token-2",
)
_TARGETS = st.builds(
    Target,
    st.sampled_from(["web", "db-1"]),
    st.sampled_from(["http", "https"]),
    st.just(""),
    st.integers(1, 65535),
    st.from_regex(r"/[a-z?=&$()%]{0,9}", fullmatch=True),
    is_guess=st.just(False),
)


def _expand(text: str) -> str:
    """Expand as the kubelet does; `$$` stands for `$`.

    Source: https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion
    """
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "LOST", text)


def _start(proxy: PodProxy, platform: Platform = PLATFORM) -> PodSettings:
    """Read the settings as the proxy in that container does."""
    container = render_container(proxy, platform, "PEM")
    arguments = [_expand(text) for text in container["args"]]
    variables = {
        item["name"]: _expand(item.get("value", item["name"])) for item in container["env"]
    }
    return parse_pod_settings(arguments, variables)


def test_a_proxy_knows_which_targets_were_guessed() -> None:
    targets = tuple(
        Target("web", "http", "", port, "/metrics", is_guess=True) for port in (8080, 8081)
    )
    settings = _start(replace(PROXY, targets=targets))

    assert (settings.faults, settings.targets) == ((), targets)


@given(
    st.lists(_TARGETS, min_size=1, max_size=3, unique_by=lambda target: target.name),
    st.text("ab$() {}", min_size=1, max_size=9),
    st.dictionaries(st.sampled_from(["team", "a.b/c"]), st.sampled_from(["", "x", "y-1"])),
)
def test_the_proxy_starts_with_what_was_decided(
    targets: list[Target], job: str, labels: dict[str, str]
) -> None:
    settings = _start(replace(PROXY, targets=tuple(targets), job=job, namespace_labels=labels))

    assert settings.faults == ()
    assert settings.targets == tuple(targets)
    assert settings.identity.job == job
    assert settings.bootstrap is not None
    assert settings.bootstrap["labels"] == labels


def test_ports_filter_and_rules_reach_the_proxy() -> None:
    settings = _start(PROXY, replace(PLATFORM, target_label="part"))

    assert (settings.port, settings.admin_port) == (16092, 16093)
    assert (settings.filters, settings.namespace_label) == (True, "namespace")
    assert settings.bootstrap is not None
    assert settings.bootstrap["labelRules"] == {
        "rename": {"app": "$(HOME)"}, "prefix": "", "protected": ["a", "b"],
    }  # fmt: skip


def test_several_targets_are_told_apart_by_the_platforms_label() -> None:
    two = (*PROXY.targets, Target("db", "http", "", 9000, "/metrics"))
    settings = _start(replace(PROXY, targets=two), replace(PLATFORM, target_label="part"))

    assert settings.target_label == "part"


def test_without_a_control_service_nothing_leads_to_one() -> None:
    assert _start(PROXY).control is not None
    assert _start(PROXY, replace(PLATFORM, control=None)).control is None


def test_the_token_is_mounted_where_the_proxy_looks_and_for_the_control_service_only() -> None:
    volume = render_token_volume(PROXY.token_volume)
    (mount,) = render_container(PROXY, PLATFORM, "PEM")["volumeMounts"]
    (source,) = volume["projected"]["sources"]
    control = _start(PROXY).control

    assert mount["name"] == volume["name"] == "livery-token-2"
    assert source["serviceAccountToken"]["audience"] == TOKEN_AUDIENCE
    assert control is not None
    assert str(control.token_file) == f"{SERVICE_ACCOUNT_DIRECTORY}/token"


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"is_native": True}, "restartPolicy", "Always"),
        ({"is_native": False}, "restartPolicy", None),
        ({"resources": None}, "resources", None),
        ({"resources": {"limits": {"cpu": "2"}}}, "resources", {"limits": {"cpu": "2"}}),
    ],
)
def test_a_field_stands_only_where_it_was_decided(
    change: dict[str, Any], field: str, value: object
) -> None:
    assert render_container(replace(PROXY, **change), PLATFORM, "PEM").get(field) == value


@pytest.mark.parametrize("user", [None, 65532])
def test_the_restricted_standard_is_met(user: int | None) -> None:
    container = render_container(replace(PROXY, run_as_user=user), PLATFORM, "PEM")
    context = container["securityContext"]

    assert context.get("runAsUser") == user
    assert context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_labels_travel_in_the_order_of_their_keys() -> None:
    assert render_bootstrap({"b": "2", "a": "", "a.b/c": "1"}) == "a=,a.b/c=1,b=2"
    assert render_bootstrap({}) == ""


@pytest.mark.parametrize(
    ("change", "is_outdated"),
    [
        ({"image": "other:1"}, True),
        ({"image_pull_policy": "Always"}, True),
        ({"image_pull_secrets": ("pull",)}, True),
        ({"control": None}, True),
        ({"control": ControlAddress(url="https://other:8444")}, True),
        ({"labels": LabelRules(prefix="ns_")}, False),
        ({"target_label": "part"}, True),
        ({"nodes": ("shop/node",)}, False),
        ({"metric_relabelings": ({"action": "drop"},)}, False),
    ],
)
def test_a_pod_is_outdated_when_a_restart_would_change_it(
    change: dict[str, Any], is_outdated: bool
) -> None:
    changed = replace(PLATFORM, **change)

    assert (template_hash(changed) != template_hash(PLATFORM)) is is_outdated
    written = [render_container(PROXY, item, "PEM") for item in (changed, PLATFORM)]
    for container in written:
        # The policy stream replaces these rules at once, so their value does not matter.
        container["env"] = [
            item for item in container["env"] if item["name"] != "LIVERY_LABEL_RULES"
        ]
    assert is_outdated or written[0] == written[1]


def test_without_a_control_service_the_naming_of_labels_needs_a_restart() -> None:
    alone = replace(PLATFORM, control=None)
    renamed = replace(alone, labels=LabelRules(prefix="ns_"))

    assert template_hash(alone) != template_hash(renamed)
