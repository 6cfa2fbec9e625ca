from typing import Any

import pytest

from injector.errors import ObjectError
from injector.model.access.metricaccess import parse_metric_access
from injector.model.access.receivers import (
    Receivers,
    SecretKey,
    is_own_service,
    read_receivers,
    secrets_of,
)
from injector.platform.settings import Platform, RemoteWriteSettings
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.forward import parse_forwarding

_URL = "https://metrics.example.com/api/v1/write?tenant=a"


def _object(kind: str, **block: Any) -> dict[str, Any]:
    name = {"remote_write": "remoteWrite"}.get(kind, kind)
    remote = {"enabled": True, "target": {"type": kind, name: block}}
    spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote}
    return {"metadata": {"name": "front", "namespace": "shop"}, "spec": spec}


def _read(kind: str, **block: Any) -> Receivers:
    access = parse_metric_access(_object(kind, **block))
    assert access.remote_write is not None
    return read_receivers(access, access.remote_write, Platform())


def test_a_service_is_written_to_by_its_name() -> None:
    (address,) = _read("prometheus", serviceName="prometheus-operated").addresses

    assert address == {
        "host": "prometheus-operated.shop.svc.cluster.local", "port": 9090,
        "path": "/api/v1/write", "isService": True,
    }  # fmt: skip


def test_each_replica_of_a_stateful_set_is_written_to() -> None:
    found = _read("prometheus", serviceName="p", servicePort=80, replicas=2, statefulSetName="prom")

    assert [item["host"] for item in found.addresses] == [
        "prom-0.p.shop.svc.cluster.local", "prom-1.p.shop.svc.cluster.local",
    ]  # fmt: skip


def test_a_pushgateway_is_pushed_to() -> None:
    (address,) = _read(
        "pushgateway", serviceName="pushgateway", jobName="batch", deleteOnShutdown=True
    ).addresses

    assert address == {
        "kind": "push", "host": "pushgateway.shop.svc.cluster.local", "port": 9091, "path": "",
        "isService": True, "jobName": "batch", "deletesOnShutdown": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://M.example.com:443/write", "m.example.com"),
        ("https://m.example.com:8443/write", "m.example.com:8443"),
        ("http://m.example.com/write", "http://m.example.com"),
        ("http://m.example.com:9090/write", "http://m.example.com:9090"),
        ("https://[2001:db8::1]/write", "[2001:db8::1]"),
    ],
)
def test_a_secret_has_to_name_who_can_read_what_is_sent(url: str, origin: str) -> None:
    assert _read("remote_write", url=url).origin == origin


def test_a_receiver_that_nobody_verifies_gets_no_secret() -> None:
    with pytest.raises(ObjectError, match=r"insecureSkipVerify: .*set caSecret instead"):
        _read(
            "remote_write",
            url=_URL,
            bearerTokenSecret={"name": "receiver", "key": "token"},
            tlsConfig={"insecureSkipVerify": True},
        )


def test_a_receiver_that_shows_another_name_gets_no_secret_unless_the_platform_trusts() -> None:
    block = {
        "url": _URL,
        "bearerTokenSecret": {"name": "receiver", "key": "token"},
        "tlsConfig": {"serverName": "Other.example.com"},
    }
    with pytest.raises(ObjectError, match=r"serverName: the Secret may be sent to metrics\."):
        _read("remote_write", **block)
    settings = RemoteWriteSettings(requires_secret_consent=False)
    access = parse_metric_access(_object("remote_write", **block))
    assert access.remote_write is not None
    read_receivers(access, access.remote_write, Platform(remote_write=settings))
    del block["bearerTokenSecret"]
    _read("remote_write", **block)


def test_a_url_is_any_receiver_s_and_names_its_secrets() -> None:
    found = _read(
        "remote_write",
        url=_URL,
        basicAuth={"username": "shop", "passwordSecret": {"name": "receiver", "key": "password"}},
        headers={"X-Scope-OrgID": "shop"},
        tlsConfig={
            "caSecret": {"name": "receiver", "key": "ca.crt"},
            "certSecret": {"name": "own", "key": "tls.crt"},
            "keySecret": {"name": "own", "key": "tls.key"},
            "serverName": "metrics.example.com",
        },
    )

    assert found.origin == "metrics.example.com"
    assert found.secrets == (
        SecretKey("receiver", "password"), SecretKey("receiver", "ca.crt"),
        SecretKey("own", "tls.crt"), SecretKey("own", "tls.key"),
    )  # fmt: skip
    assert found.addresses[0] == {
        "host": "metrics.example.com", "port": 443, "path": "/api/v1/write?tenant=a",
        "isService": False, "headers": {"X-Scope-OrgID": "shop"},
        "basicAuth": {"username": "shop", "password": "receiver/password"},
        "tls": {
            "ca": "receiver/ca.crt", "certificate": "own/tls.crt", "key": "own/tls.key",
            "serverName": "metrics.example.com", "skipsVerification": False,
        },
    }  # fmt: skip


def test_a_token_of_a_secret_is_shown() -> None:
    found = _read("remote_write", url=_URL, bearerTokenSecret={"name": "s", "key": "token"})

    assert found.addresses[0]["bearerToken"] == "s/token"


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        ("prometheus", {"serviceName": "p", "replicas": 3, "statefulSetName": "s"}),
        ("pushgateway", {"serviceName": "p"}),
        ("remote_write", {"url": "http://a.shop.svc:9/x", "headers": {"X-A": "b"}}),
        ("remote_write", {"url": _URL, "bearerTokenSecret": {"name": "s", "key": "t"}}),
    ],
)
def test_proxies_read_what_is_written(kind: str, block: dict[str, Any]) -> None:
    receivers = list(_read(kind, **block).addresses)
    access = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}
    rule = {"access": access, "intervalSeconds": 30, "receivers": receivers}
    found = parse_forwarding({"rules": [rule]}, DocumentReader(Origin.FILE))

    assert len(found.rules[0].receivers) == len(receivers)


@pytest.mark.parametrize(
    ("kind", "block", "reason"),
    [
        ("prometheus", {}, "prometheus.serviceName: '' is not a valid Service name"),
        ("prometheus", {"serviceName": "a.bank.svc"}, "is not a valid Service name"),
        ("prometheus", {"serviceName": "1a"}, "is not a valid Service name"),
        ("prometheus", {"serviceName": "p", "servicePort": 70000}, "a port from 1 to 65535"),
        ("prometheus", {"serviceName": "p", "servicePort": True}, "a port from 1 to 65535"),
        ("prometheus", {"serviceName": "p", "replicas": 33}, "a number up to 32"),
        (
            "prometheus",
            {"serviceName": "p", "replicas": 2, "statefulSetName": "a/b"},
            "StatefulSet",
        ),
        ("pushgateway", {"serviceName": "p.bank"}, "pushgateway.serviceName"),
        ("remote_write", {"url": "ftp://x"}, "http://host/path or https"),
        ("remote_write", {"url": "http://u:p@x/"}, "http://host/path or https"),
        ("remote_write", {"url": "http://[::1"}, "http://host/path or https"),
        ("remote_write", {"url": "http://x/#a"}, "http://host/path or https"),
        (
            "remote_write",
            {"url": _URL, "headers": {"Host": "x"}},
            "'Host' is invalid or not a header",
        ),
        ("remote_write", {"url": _URL, "headers": {"X": "a\nb"}}, "'X' is invalid or not a header"),
        (
            "remote_write",
            {"url": _URL, "basicAuth": {"username": "a"}},
            "a valid Secret name and key are required",
        ),
        (
            "remote_write",
            {
                "url": _URL,
                "basicAuth": {"passwordSecret": {"name": "s", "key": "k"}},
                "bearerTokenSecret": {"name": "s", "key": "k"},
            },
            "must not be set together with basicAuth",
        ),
        (
            "remote_write",
            {
                "url": _URL,
                "headers": {"authorization": "x"},
                "bearerTokenSecret": {"name": "s", "key": "k"},
            },
            "must not set Authorization: the Secret sets it",
        ),
        ("remote_write", {"url": "http://x/", "tlsConfig": {"serverName": "x"}}, "has no effect"),
        (
            "remote_write",
            {"url": "https://:pw@x/"},
            "must be http://host/path or https://host/path",
        ),
        ("remote_write", {"url": "https://x:0/"}, "must be http://host/path or https://host/path"),
        (
            "remote_write",
            {"url": _URL, "tlsConfig": {"keySecret": {"name": "s", "key": "k"}}},
            "certSecret and keySecret must be set together",
        ),
    ],
)
def test_what_cannot_be_sent_to_is_named(kind: str, block: dict[str, Any], reason: str) -> None:
    with pytest.raises(ObjectError, match=reason.replace("(", r"\(")):
        _read(kind, **block)


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("a.shop.svc", True),
        ("p-0.a.shop.svc.cluster.local", True),
        ("A.SHOP.SVC.cluster.local.", True),
        ("a.bank.svc", False),
        ("shop.svc.example.com", False),
        ("a.shop.svc.example.com", False),
    ],
)
def test_a_host_of_the_own_namespace_s_services_is_known(host: str, is_own: bool) -> None:
    assert is_own_service(host, "shop", "cluster.local") is is_own


def test_secrets_are_read_only_for_objects_that_send_with_them() -> None:
    block = {"url": "odd", "bearerTokenSecret": {"name": "s", "key": "t"}}
    obj = _object("remote_write", **block)
    assert secrets_of(parse_metric_access(obj)) == {"s"}
    obj["spec"]["remoteWrite"]["enabled"] = False
    assert secrets_of(parse_metric_access(obj)) == frozenset()
    assert secrets_of(parse_metric_access(_object("pushgateway", **block))) == frozenset()
