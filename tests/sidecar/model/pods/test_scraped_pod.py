from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PodsError
from sidecar.model.pods.scraped_pod import (
    ScrapedPod,
    check_addresses,
    find_pod_targets,
    parse_scraped_pod,
    trim_pod,
)


def raw_pod(**changes: Any) -> dict[str, Any]:
    """A pod as an API server sends it."""
    pod: dict[str, Any] = {
        "metadata": {
            "namespace": "shop",
            "name": "web-0",
            "uid": "u-1",
            "creationTimestamp": "2026-11-27T00:00:00Z",
            "labels": {"app": "web"},
            "annotations": {"prometheus.io/scrape": "true", "note": "x" * 100},
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "nodeName": "worker",
            "containers": [
                {"name": "web", "image": "web:1", "ports": [{"containerPort": 9100, "name": "m"}]}
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = pod
        for name in parents:
            at = at[name]
        at[last] = value
    return pod


def _pod(**changes: Any) -> ScrapedPod:
    return parse_scraped_pod(raw_pod(**changes), "pod")


def _urls(pod: ScrapedPod) -> list[str]:
    return [target.url for target in find_pod_targets(pod).targets]


def test_a_pod_is_read_with_both_its_addresses() -> None:
    pod = _pod()

    assert (pod.namespace, pod.name, pod.uid) == ("shop", "web-0", "u-1")
    assert pod.addresses == ("10.0.0.7", "fd00::7")
    assert pod.is_running
    assert pod.asks
    assert not pod.has_proxy


@pytest.mark.parametrize(
    "changes",
    [
        {"status__phase": "Pending"},
        {"status__phase": "Succeeded"},
        {"metadata__deletionTimestamp": "2026-11-27T00:00:00Z"},
        {"status": {"phase": "Running"}},
    ],
)
def test_a_pod_that_starts_or_ends_is_not_running(changes: dict[str, Any]) -> None:
    assert not _pod(**changes).is_running


@pytest.mark.parametrize(
    ("annotations", "asks"),
    [
        ({}, False),
        ({"prometheus.io/scrape": "false"}, False),
        ({"prometheus_io_scrape": "true"}, True),
        ({"prometheus.io/scrape-slow": "true"}, True),
        ({"livery.dev/inject": "true"}, True),
        ({"livery.dev/inject": "false", "prometheus.io/scrape": "true"}, True),
    ],
)
def test_annotations_ask_in_all_their_spellings(annotations: dict[str, str], asks: bool) -> None:
    assert _pod(metadata__annotations=annotations).asks is asks


@pytest.mark.parametrize(
    ("annotations", "url"),
    [
        ({}, "http://10.0.0.7:9100/metrics"),
        ({"prometheus.io/port": "m", "prometheus.io/path": "stats"}, "http://10.0.0.7:9100/stats"),
        (
            {"prometheus.io/port": "80", "prometheus.io/scheme": "https"},
            "https://10.0.0.7:80/metrics",
        ),
        ({"livery.dev/targets": "web=https://:m/x"}, "https://10.0.0.7:9100/x"),
    ],
)
def test_targets_follow_the_rules_of_injection(annotations: dict[str, str], url: str) -> None:
    assert _urls(_pod(metadata__annotations=annotations)) == [url]


@pytest.mark.parametrize(
    "path", ["@evil.example/x", "//evil.example/x", "/a b", "/\r\nHost: x", "http://evil.example/"]
)
def test_no_path_leaves_the_pod(path: str) -> None:
    pod = _pod(metadata__annotations={"prometheus.io/port": "80", "prometheus.io/path": path})

    assert all(url.startswith("http://10.0.0.7:80/") for url in _urls(pod))


def test_an_ipv6_pod_has_its_address_in_brackets() -> None:
    pod = _pod(status={"phase": "Running", "podIP": "fd00::7"})

    assert _urls(pod) == ["http://[fd00::7]:9100/metrics"]


def test_a_pod_with_a_proxy_is_asked_through_it_whatever_its_annotations() -> None:
    proxy = {
        "name": "livery-proxy",
        "restartPolicy": "Always",
        "ports": [{"name": "livery", "containerPort": 16090}],
    }
    annotations = {"livery.dev/targets": "web=http://:9100", "prometheus.io/port": "9100"}
    pod = _pod(spec__initContainers=[proxy], metadata__annotations=annotations)

    assert pod.has_proxy
    assert _urls(pod) == ["http://10.0.0.7:16090/metrics"]


def test_an_init_container_that_ends_is_no_target() -> None:
    init = {"name": "setup", "ports": [{"containerPort": 7000}]}

    assert _urls(_pod(spec__initContainers=[init])) == ["http://10.0.0.7:9100/metrics"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "240.0.0.1", "255.255.255.255", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_an_address_of_no_pod_is_refused(address: str) -> None:
    pod = _pod(status={"phase": "Running", "podIP": address})

    with pytest.raises(PodsError, match="is not an address that a pod can have"):
        check_addresses(pod)


@pytest.mark.parametrize("address", ["10.0.0.7", "fd00::7", "2001:db8::7", "::ffff:10.0.0.7"])
def test_a_pods_own_addresses_are_taken(address: str) -> None:
    check_addresses(_pod(status={"phase": "Running", "podIP": address}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status__podIP": "evil"}, "pod.status.podIPs: 'evil' is not an IP address"),
        ({"metadata__labels": []}, "pod.metadata.labels: a mapping is needed, not a list"),
        ({"metadata__name": 5}, "pod.metadata.name: a string is needed, not a number"),
        ({"metadata__name": "\ud800"}, "pod: a name is not valid Unicode"),
        ({"spec__containers": "x"}, "pod.spec.containers: a list of mappings is needed"),
        ({"metadata__labels": {"a": 1}}, "pod.metadata.labels.a: a string is needed"),
    ],
)
def test_a_malformed_pod_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PodsError, match="^" + message.replace(".", r"\.")):
        _pod(**changes)


def test_a_trimmed_pod_is_read_as_the_whole_one() -> None:
    trimmed = trim_pod(raw_pod())

    assert trimmed is not None
    whole = _pod()
    kept = {key: text for key, text in whole.annotations.items() if key != "note"}
    assert parse_scraped_pod(trimmed, "pod") == whole._replace(annotations=kept)
    assert trim_pod(trimmed) == trimmed
    assert "managedFields" not in str(trimmed)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_not_sent(phase: str) -> None:
    assert trim_pod(raw_pod(status__phase=phase)) is None


def test_a_long_annotation_is_not_sent() -> None:
    trimmed = trim_pod(raw_pod(metadata__annotations={"livery.dev/targets": "x" * 5000}))

    assert trimmed is not None
    assert trimmed["metadata"]["annotations"] == {}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(part=st.sampled_from(["metadata", "spec", "status"]), data=st.data(), value=_JSON)
def test_any_object_is_a_pod_or_an_error(part: str, data: st.DataObject, value: Any) -> None:
    pod = raw_pod()
    pod[part][data.draw(st.sampled_from(sorted(pod[part])))] = value
    try:
        trimmed = trim_pod(pod)
        read = parse_scraped_pod(pod, "pod")
    except PodsError:
        return
    find_pod_targets(read)
    if trimmed is not None:
        find_pod_targets(parse_scraped_pod(trimmed, "pod"))
