import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PodsError
from sidecar.model.pods import pod_stream
from sidecar.model.pods.pod_list import Pod
from sidecar.model.pods.pod_stream import PodListReader, read_pods
from tests.sidecar.kubelets import pod, pod_list


def _read_in_parts(body: bytes, size: int) -> tuple[Pod, ...]:
    reader = PodListReader()
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    return reader.finish()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON: '{' is missing"),
        (b"<html>", "not valid JSON"),
        (b"[]", "not valid JSON"),
        (b"{}", "no list `items`"),
        (b'{"items": {}}', "no list `items`"),
        (b'{"items": []} x', "more text follows its end"),
        (
            b'{"items": [{"spec": {"containers": [{"ports": [{"containerPort": true}]}]}}]}',
            "number",
        ),
        (b'{"items": [' + b"{}," * 5000 + b"{}]}", "more than 5000"),
        (b'{"items": [', "not valid JSON"),
        (b'{"items": [{}', "not valid JSON: ',' is missing"),
        (b'{"items": [{} {}]}', "not valid JSON"),
        (b'{"items": [1]}', r"items\[0\]: a mapping is needed, not a number"),
        (b'{"items": [{"metadata": 1}]}', r"items\[0\].metadata: a mapping"),
        (b'{"items": [{"metadata": {"name": 1}}]}', r"items\[0\].metadata.name: a string"),
        (b'{"items": [{}, {"spec": {"containers": {}}}]}', r"items\[1\].spec.containers: a list"),
        (b'{"items": [{"spec": {"containers": [{"ports": [{}]}]}}]}', "containerPort: a number"),
        (b'{"items": [{"metadata": {"labels": {"a": 1}}}]}', "metadata.labels.a: a string"),
        (b'{"items": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"items": [], "x": "\xff"}', "not valid JSON"),
    ],
)
def test_what_is_no_pod_list_is_refused_with_its_place(body: bytes, reason: str) -> None:
    with pytest.raises(PodsError, match=reason):
        read_pods(body)
    with pytest.raises(PodsError, match=reason.replace("not valid JSON.*", "not valid JSON")):
        _read_in_parts(body, 1000)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    around=st.dictionaries(st.text().filter(lambda key: key != "items"), _JSON, max_size=3),
    names=st.lists(st.text(), max_size=4),
    indent=st.none() | st.integers(0, 3),
    comes_first=st.booleans(),
    size=st.integers(1, 99),
)
def test_every_way_to_write_the_list_is_read_alike(
    around: dict[str, Any], names: list[str], indent: int | None, comes_first: bool, size: int
) -> None:
    items = {"items": [{"metadata": {"name": name}} for name in names]}
    document = {**items, **around} if comes_first else {**around, **items}
    body = json.dumps(document, indent=indent).encode()

    assert [item.name for item in read_pods(body)] == sorted(names)
    assert _read_in_parts(body, size) == read_pods(body)


def test_of_a_long_list_no_more_is_held_than_a_pod_and_what_is_kept() -> None:
    annotations = {"note": "x" * (256 << 10)}
    body = pod_list(*(pod("shop", f"web-{at}", annotations=annotations) for at in range(80)))
    reader = PodListReader(lambda item: item._replace(annotations={}))
    tracemalloc.start()
    for at in range(0, len(body), 65536):
        reader.feed(body[at : at + 65536])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(reader.finish()) == 80
    assert len(body) > 20 << 20
    assert peak < 3 << 20


def test_a_pod_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_stream, "MAX_POD_CHARACTERS", 1 << 20)
    reader = PodListReader()

    reader.feed(b'{"items": [{"metadata": {"name": "')

    with pytest.raises(PodsError, match="a pod is larger than 1 MiB"):
        reader.feed(b"x" * (2 << 20))
