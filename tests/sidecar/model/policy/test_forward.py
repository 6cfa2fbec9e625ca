import ipaddress
from typing import Any

import pytest

from sidecar.errors import RuleError
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.forward import (
    Forwarding,
    ReceiverAddress,
    ReceiverKind,
    TlsSettings,
    parse_forwarding,
)
from sidecar.model.policy.secret import Credential

_RECEIVER = {"host": "prometheus.shop.svc.cluster.local", "port": 9090, "path": "/api/v1/write"}


def _rule(receiver: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    access = {"name": "front", "patterns": ["up"], "namespaces": ["shop"]}
    receivers = [{**_RECEIVER, **(receiver or {})}]
    return {"access": access, "intervalSeconds": 30, "receivers": receivers, **fields}


def _parse(*rules: Any, origin: Origin = Origin.FILE, **fields: Any) -> Forwarding:
    return parse_forwarding({"rules": list(rules), **fields}, DocumentReader(origin))


def _receiver(**fields: Any) -> ReceiverAddress:
    (rule,) = _parse(_rule(fields)).rules
    return rule.receivers[0]


def test_a_rule_says_what_is_sent_how_often_and_where_to() -> None:
    forwarding = _parse(
        _rule(extraLabels={"tenant": "shop"}, honorLabels=True), allowedRanges=["10.0.0.0/8"]
    )
    (rule,) = forwarding.rules

    assert (rule.name, rule.interval_seconds) == ("front", 30)
    assert (rule.sending.extra_labels, rule.sending.honor_labels) == ({"tenant": "shop"}, True)
    assert rule.receivers == (
        ReceiverAddress("prometheus.shop.svc.cluster.local", 9090, "/api/v1/write"),
    )
    assert forwarding.allowed == (ipaddress.ip_network("10.0.0.0/8"),)


def test_extra_labels_are_bounded_in_sum() -> None:
    _parse(_rule(extraLabels={"a": "x" * 4000}))
    with pytest.raises(
        RuleError, match=r"extraLabels: more than 4096 characters, which every series"
    ):
        _parse(_rule(extraLabels={f"a{number}": "x" * 100 for number in range(50)}))


def test_a_receiver_names_credentials_and_the_policy_has_them() -> None:
    receiver = {
        "basicAuth": {"username": "shop", "password": "s/pw"},
        "tls": {"ca": "s/ca", "serverName": "x", "skipsVerification": False},
    }
    credentials = {"s/pw": {"value": "geheim", "revision": "u/1"}, "s/ca": {"value": "PEM"}}
    forwarding = _parse(_rule(receiver), credentials=credentials)
    (address,) = forwarding.rules[0].receivers

    assert (address.username, address.password) == ("shop", "s/pw")
    assert address.tls == TlsSettings(ca="s/ca", server_name="x")
    assert address.credentials == {"s/pw", "s/ca"}
    assert forwarding.credentials == {"s/pw": Credential("geheim"), "s/ca": Credential("PEM")}
    assert "geheim" not in repr(forwarding)


def test_a_pushgateway_is_a_receiver_of_another_kind() -> None:
    found = _receiver(kind="push", path="", jobName="batch", deletesOnShutdown=True)

    assert (found.kind, found.path) == (ReceiverKind.PUSH, "")
    assert (found.job_name, found.deletes_on_shutdown) == ("batch", True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"host": "a/b"}, r"receivers\[0\]\.host: a host name or an IP address"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port from 1"),
        ({"port": True}, "port from 1"),
        (
            {"path": "x"},
            "a path is needed: at most 2048 ASCII characters, first a /, no spaces",
        ),
        (
            {"path": "/a b"},
            "a path is needed: at most 2048 ASCII characters, first a /, no spaces",
        ),
        ({"kind": "mail"}, "not one of write, push"),
        ({"headers": {"Host": "x"}}, "'Host' is invalid or not a header that can be set"),
        ({"headers": {"Content-Length": "1"}}, "is invalid or not a header that can be set"),
        ({"headers": {"Transfer-Encoding": "x"}}, "is invalid or not a header that can be set"),
        ({"headers": {"X": "a\r\nY: b"}}, "is invalid or not a header that can be set"),
        ({"headers": {"X Y": "a"}}, "is invalid or not a header that can be set"),
        ({"tls": {"minimum": 1}}, "not a TLS setting"),
        ({"basicAuth": {"token": "x"}}, "not a field of basicAuth"),
        ({"anything": 1}, "not a field of a receiver"),
    ],
)
def test_what_is_wrong_with_a_receiver_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuleError, match=reason):
        _parse(_rule(fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"intervalSeconds": 1}, "a number from 5 to 86400"),
        ({"intervalSeconds": "30s"}, "a number from 5"),
        ({"receivers": []}, "1 to 32 receivers are needed"),
        ({"receivers": [_RECEIVER] * 33}, "1 to 32 receivers are needed"),
        ({"narrows": 1}, "not a field of a forwarding rule"),
        ({"access": {"patterns": ["("], "namespaces": []}}, "patterns"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuleError, match=reason):
        _parse(_rule(**fields))


def test_from_the_stream_a_rule_that_cannot_be_read_sends_nothing_and_others_go_on() -> None:
    reader = DocumentReader(Origin.STREAM)
    value = {"rules": [_rule(narrows=1), _rule()], "later": 1}
    found = parse_forwarding(value, reader)

    assert len(found.rules) == 1
    (problem,) = reader.problems
    assert problem.startswith("forward.rules[0].narrows: not a field of a forwarding rule")
    assert problem.endswith("this rule sends nothing")
    assert reader.ignored == ["forward.later"]


def test_too_many_rules_and_ranges_that_are_none_are_refused() -> None:
    with pytest.raises(RuleError, match="at most 100"):
        _parse(*[_rule()] * 101)
    with pytest.raises(RuleError, match="allowedRanges"):
        _parse(allowedRanges=["10.0.0.0/99"])


def test_the_receivers_of_all_rules_are_bounded() -> None:
    rules = [{**_rule(), "receivers": _rule()["receivers"] * 30} for _ in range(4)]
    with pytest.raises(
        RuleError, match=r"rules\[3\]\.receivers: with this rule there are 120 receivers"
    ):
        _parse(*rules)
    reader = DocumentReader(Origin.STREAM)

    assert len(parse_forwarding({"rules": rules}, reader).rules) == 3
