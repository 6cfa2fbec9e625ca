"""Tokens of third parties, reviewed for node proxies and gateways by a real API server."""

import asyncio
import json
import ssl
from typing import Any

import pytest

from injector.control.identity import AccessAttributes
from injector.errors import IdentityError
from injector.kube.api.client import KubeClient
from injector.kube.tokens import reviewer as access
from injector.kube.tokens.reviewer import AccessReviewer
from sidecar.http.connection import Connection, render_request
from tests.cluster.fixtures import Namespace, installed_chart, make_namespace
from tests.cluster.injector import running_injector
from tests.cluster.proxy import CutConnections
from tests.real_parts.kubernetes import ApiServer

METRICS = AccessAttributes("get", path="/metrics")
API = "https://kubernetes.default.svc"


def _grant(namespace: Namespace, account: str, rules: list[dict[str, Any]]) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    name = f"{namespace.name}-{account}"
    metadata = {"name": name}
    client = namespace.client
    client.request("POST", f"{rbac}/clusterroles", body={"metadata": metadata, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace.name}
    body = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
    client.request("POST", f"{rbac}/clusterrolebindings", body=body)


def test_a_scraper_may_what_it_was_granted_and_no_more(
    client: KubeClient, namespace: Namespace
) -> None:
    namespace.create("serviceaccounts", "prometheus")
    _grant(namespace, "prometheus", [
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    ])  # fmt: skip
    token = namespace.token("prometheus", audience=API)
    asks = {
        METRICS: True,
        None: True,
        AccessAttributes("get", resource="nodes", subresource="metrics"): True,
        AccessAttributes("get", resource="nodes", subresource="proxy"): False,
        AccessAttributes("post", path="/metrics"): False,
        AccessAttributes("get", path="/debug"): False,
    }

    async def body() -> None:
        reviewer = AccessReviewer(client)
        for asked, is_allowed in asks.items():
            review = await reviewer.review(token, asked)
            assert review.username == f"system:serviceaccount:{namespace.name}:prometheus"
            assert review.is_allowed is is_allowed, asked

    asyncio.run(body())


def test_a_token_must_be_for_one_of_the_audiences(client: KubeClient, namespace: Namespace) -> None:
    ours, theirs = (namespace.token("default", audience=name) for name in ("livery-gateway", API))
    wanted = ("livery-gateway", "other")

    async def body() -> None:
        reviewer = AccessReviewer(client)
        found = await reviewer.review(ours, None, audiences=wanted)
        assert found.username == f"system:serviceaccount:{namespace.name}:default"
        # A cached answer is used only for the same question.
        assert not (await reviewer.review(ours, None)).username
        assert not (await reviewer.review(ours, None, audiences=("other",))).username
        assert not (await reviewer.review(theirs, None, audiences=wanted)).username

    asyncio.run(body())


@pytest.mark.parametrize("token", ["x", "a.b.c", "\ud800"])
def test_nobody_is_known_by_nonsense(client: KubeClient, token: str) -> None:
    review = asyncio.run(AccessReviewer(client).review(token, METRICS))

    assert (review.username, review.is_allowed) == ("", False)


def test_an_answer_counts_a_minute_and_then_nobody_is_let_in_on_a_guess(
    api_server: ApiServer, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "CACHE_SECONDS", 0.5)
    _grant(namespace, "default", [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    token = namespace.token("default", audience=API)

    async def body() -> None:
        with CutConnections(api_server) as between:
            reviewer = AccessReviewer(between.client())
            assert (await reviewer.review(token, METRICS)).is_allowed
            between.cut()
            assert (await reviewer.review(token, METRICS)).is_allowed
            await asyncio.sleep(0.6)
            with pytest.raises(IdentityError) as caught:
                await reviewer.review(token, METRICS)
            assert caught.value.status == 503

    asyncio.run(body())


def test_only_granted_accounts_are_answered(api_server: ApiServer, client: KubeClient) -> None:
    shop = make_namespace(client, "shop")
    shop.create("serviceaccounts", "node")
    grants = f"control.grants.nodes={{{shop.name}/node}}"
    shop.pod("web")
    spec = {"containers": [{"name": "p", "image": "p:1"}], "serviceAccountName": "node"}
    shop.create("pods", "node-proxy", spec=spec)
    asked = {"token": shop.token("default", audience=API), "access": {"verb": "get", "path": "/x"}}

    async def body() -> None:
        with installed_chart(api_server, client, "--set", grants) as release:
            async with running_injector(release) as running:
                trust = ssl.create_default_context(cadata=running.service.admission.ca_bundle)

                async def ask(token: str, question: object) -> tuple[int, str]:
                    return await _post(running.service.ports[1], trust, token, question)

                node = shop.token("node", pod="node-proxy")
                status, text = await ask(node, asked)
                user = f"system:serviceaccount:{shop.name}:default"
                answer = json.loads(text)
                assert (status, answer["authenticated"], answer["allowed"]) == (200, True, False)
                assert answer["user"]["username"] == user
                assert json.loads((await ask(node, {"token": "x"}))[1]) == {"authenticated": False}
                # A proxy's token is not valid for the API: it cannot be used to scrape.
                stolen = {"token": node}
                assert json.loads((await ask(node, stolen))[1]) == {"authenticated": False}
                assert (await ask(shop.token("default", pod="web"), asked))[0] == 403
                assert (await ask("x", asked))[0] == 401
                assert (await ask(node, {"token": "x", "access": {"verb": "get"}}))[0] == 400

    asyncio.run(body())


async def _post(port: int, trust: ssl.SSLContext, token: str, question: object) -> tuple[int, str]:
    connection = await Connection.open("127.0.0.1", port, tls=trust, server_name="127.0.0.1")
    body = json.dumps(question).encode()
    headers = {"Host": "x", "Authorization": f"Bearer {token}"}
    status = await connection.send(render_request("POST", "/v1/authenticate", headers, body))
    parts = []
    while part := await connection.read():
        parts.append(part)
    connection.close()
    return status, b"".join(parts).decode()
