"""Proxies, as known to all replicas together."""

from injector.control.hub import PolicyHub
from injector.control.proxies import Proxies, Proxy
from injector.control.reports import Report, Reports, read_report
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform

WEB, DB = ("shop", "web-0"), ("shop", "db-0")


def _report(received_at: float) -> Report:
    return read_report({"proxyVersion": "1"}, received_at)


def _proxies(own: Reports | None = None) -> Proxies:
    return Proxies(PolicyHub(ClusterState(), Platform()), own or Reports())


def test_a_proxy_has_the_stream_of_one_replica_and_the_newest_report_of_all() -> None:
    own = Reports(clock=lambda: 5.0)
    own.put(WEB, {"proxyVersion": "old"})
    proxies = _proxies(own)
    proxies.take("b", {WEB: Proxy("v1", None), DB: Proxy("", _report(1.0))})
    proxies.take("c", {WEB: Proxy("", _report(9.0))})

    assert proxies.all() == {WEB: Proxy("v1", _report(9.0)), DB: Proxy("", _report(1.0))}
    assert proxies.connected() == {WEB}
    assert set(proxies.own()) == {WEB}


def test_a_stream_here_is_known_without_any_report() -> None:
    proxies = _proxies()
    with proxies.hub.open(Scope("pod", "shop"), "", WEB):
        assert proxies.connected() == set(proxies.all()) == {WEB}

    assert proxies.connected() == set()


def test_a_replica_that_cannot_be_asked_is_named_and_what_it_knew_is_not_shown() -> None:
    proxies = _proxies()
    proxies.take("b", {WEB: Proxy("v1", None)})
    proxies.lose("b", "connection refused")

    assert proxies.all() == {}
    assert not proxies.is_complete
    (problem,) = proxies.problems()
    assert problem.startswith("cannot query replica b")
    assert problem.endswith("connection refused")
    proxies.take("b", {})
    assert proxies.is_complete
    assert proxies.problems() == []


def test_a_replica_that_is_gone_is_missed_by_nobody() -> None:
    proxies = _proxies()
    proxies.take("b", {WEB: Proxy("v1", None)})
    proxies.lose("c", "timeout")
    proxies.keep_only({"d"})

    assert proxies.all() == {}
    assert proxies.is_complete


def test_the_page_hears_of_news_only() -> None:
    proxies, heard = _proxies(), []
    proxies.listeners.append(lambda: heard.append(1))
    for version in ("v1", "v1", "v2"):
        proxies.take("b", {WEB: Proxy(version, None)})

    assert len(heard) == 2
