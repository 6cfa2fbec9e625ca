"""Reports that replicas exchange."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.control import peers as module
from injector.control.peers import read_proxies, write_proxies
from injector.control.proxies import Proxy
from injector.control.reports import read_report
from injector.errors import ReplicaError

WEB, DB = ("shop", "web-0"), ("shop", "db-0")
FIELDS = {
    "role": "node",
    "proxyVersion": "0.1.0",
    "policyVersion": "abc",
    "policyAgeSeconds": 1.5,
    "policyError": "x",
    "policyIgnored": ["y"],
    "faults": ["a port is busy"],
    "targets": [
        {"url": "http://:80/metrics", "up": False, "error": "e", "samples": 3, "guess": True}
    ],
    "samples": 4,
    "residentBytes": 30_000_000,
}


def test_what_is_written_is_read_with_the_time_of_each_report() -> None:
    known = {WEB: Proxy("v1", read_report(FIELDS, 90.0)), DB: Proxy("v2", None)}
    lines = [*write_proxies(known, now=100.0)]

    assert read_proxies(lines, now=lambda: 100.0) == known
    # The other replica's clock may differ: reports carry ages, not times.
    other = read_proxies(lines, now=lambda: 500.0)
    assert other[WEB].report == read_report(FIELDS, 490.0)


def test_beyond_a_bound_reports_are_left_out_and_streams_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    known = {("shop", f"web-{n}"): Proxy("v", read_report(FIELDS, 0.0)) for n in range(10)}
    found = read_proxies(write_proxies(known, now=0.0), now=lambda: 0.0)

    assert set(found) == set(known)
    assert 0 < sum(item.report is not None for item in found.values()) < 10


@pytest.mark.parametrize(
    "line",
    [b"", b"x", b"[]", b"5", b'{"streams": 5}', b'{"pod": 5}', b'{"pod": "a/b", "age": "x"}',
     b'{"pod": "a/b", "age": 1}', b'{"pod": "a/b", "age": 1, "report": 5}', b"[" * 100_000],
)  # fmt: skip
def test_what_no_replica_writes_is_an_error(line: bytes) -> None:
    with pytest.raises(ReplicaError, match=r"^invalid response: "):
        read_proxies([line], now=lambda: 0.0)


_KEYS = st.sampled_from(["pod", "age", "report", "streams"])
_JSON = st.recursive(
    st.none() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
)


@given(_JSON)
def test_any_json_is_read_or_is_an_error(value: object) -> None:
    try:
        found = read_proxies([json.dumps(value).encode()], now=lambda: 0.0)
    except ReplicaError:
        return
    assert all(isinstance(pod, tuple) for pod in found)


def test_a_few_large_reports_hide_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 30_000)
    monkeypatch.setattr(module, "LARGE_BYTES", 1_000)
    large = read_report({**FIELDS, "faults": ["\U0001f600" * 200] * 8}, 0.0)
    known = {("aaa", f"web-{number}"): Proxy("v", large) for number in range(9)}
    known[WEB] = Proxy("v", read_report(FIELDS, 0.0))

    assert read_proxies(write_proxies(known, now=0.0), now=lambda: 0.0)[WEB] == known[WEB]
