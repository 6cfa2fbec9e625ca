"""The app itself, over ASGI: what it answers, to whom, and with which headers."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from injector.control.hub import PolicyHub
from injector.control.journal import Journal, Reviewed
from injector.control.proxies import Proxies
from injector.control.reports import Reports
from injector.files.rules import read_rules
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from injector.web.status import app as module
from injector.web.status.app import build_status_app
from injector.web.status.view import Hint, Sources

HOSTILE = "<script>alert(1)</script>\"'>&"


class Page:
    """The app and its sources."""

    def __init__(self) -> None:
        cluster, platform = ClusterState(), Platform()
        cluster.listeners.append((journal := Journal()).ring)
        self.sources = Sources(
            cluster,
            Proxies(PolicyHub(cluster, platform), Reports()),
            journal,
            platform,
            "replica-1",
        )
        self._app = build_status_app(self.sources, lambda text: read_rules(text, "rules"))

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as it:
            return await it.request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self.ask("GET", path, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self.ask("POST", path, **options))


def _version(answer: httpx.Response) -> str:
    found = re.search(r'data-version="([^"]+)"', answer.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", ["/", "/live", "/playground", "/assets/page.css", "/assets/no"])
def test_every_answer_forbids_what_the_page_does_not_need(path: str) -> None:
    policy = Page().get(path).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_nothing_stands_in_the_page_that_its_policy_would_block() -> None:
    text = Page().get("/").text

    assert (
        re.search(r"<script(?![^>]* src=\"/assets/)|<style|\sstyle=|\son\w+=|https?://", text)
        is None
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil", "", "[", "[::2]:1"]
)
def test_another_host_s_name_is_refused(host: str) -> None:
    assert Page().get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080"])
def test_the_loopback_s_names_are_answered(host: str) -> None:
    assert Page().get("/", headers={"Host": host}).status_code == 200


def test_another_site_s_script_is_refused_and_its_link_is_not() -> None:
    page = Page()
    cross = {"Sec-Fetch-Site": "cross-site"}

    assert page.get("/live", headers={**cross, "Sec-Fetch-Mode": "cors"}).status_code == 403
    assert (
        page.post("/playground", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status_code == 403
    )
    assert page.get("/", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_what_tenants_write_is_escaped_everywhere() -> None:
    page = Page()
    sources = page.sources
    sources.cluster.put("Namespace", {"metadata": {"name": "shop", "labels": {HOSTILE: HOSTILE}}})
    spec = {"metrics": [HOSTILE, f"{HOSTILE}("]}
    obj = {"metadata": {"name": HOSTILE, "namespace": "shop"}, "spec": spec}
    sources.cluster.put("MetricAccess", obj)
    target = {"url": HOSTILE, "up": False, "error": HOSTILE, "samples": HOSTILE}
    sources.proxies.reports.put(
        ("shop", HOSTILE),
        {"proxyVersion": HOSTILE, "policyVersion": HOSTILE, "policyError": HOSTILE,
         "faults": [HOSTILE], "notes": [HOSTILE], "targets": [target]},
    )  # fmt: skip
    sources.journal.add(
        Reviewed(0.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), True, 0.0)
    )
    sources.hints.append(Hint(HOSTILE, HOSTILE))
    sources.problems = lambda: [HOSTILE]

    for text in (
        page.get("/").text,
        page.get("/", params={"search": HOSTILE}).text,
        page.post("/playground", data={"rules": HOSTILE, "series": HOSTILE}).text,
        page.post("/playground?part", data={"rules": "[]", "series": 'a{b="<script>"}'}).text,
    ):
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
        assert "\"'>" not in text


def test_the_live_part_is_sent_when_something_changed() -> None:
    async def body() -> None:
        page = Page()
        have = _version(await page.ask("GET", "/live"))
        waiting = asyncio.create_task(page.ask("GET", "/live", params={"have": have}))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        page.sources.cluster.put("Namespace", {"metadata": {"name": "late", "labels": {}}})
        answer = await waiting
        assert "late" in answer.text
        assert _version(answer) != have

    asyncio.run(body())


def test_without_a_change_the_page_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    page = Page()
    have = _version(page.get("/live"))

    assert page.get("/live", params={"have": have}).status_code == 204


def test_too_many_watchers_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 0)
    page = Page()
    have = _version(page.get("/live"))

    assert page.get("/live", params={"have": have}).status_code == 503


def test_pages_are_turned_by_links_that_keep_the_rest() -> None:
    page = Page()
    for number in range(60):
        page.sources.cluster.put("Namespace", {"metadata": {"name": f"n{number:02}", "labels": {}}})
    text = page.get("/", params={"search": "n", "namespaces": "2"}).text

    assert "page 2 of 3" in text
    assert 'href="/?search=n#namespaces"' in text
    assert 'href="/?search=n&amp;namespaces=3#namespaces"' in text


@pytest.mark.parametrize("number", ["x", "-1", "0", "999999", "9" * 40, "²"])
def test_an_odd_page_number_is_the_first_or_last_page(number: str) -> None:
    page = Page()
    for index in range(60):
        page.sources.cluster.put("Namespace", {"metadata": {"name": f"n{index:02}"}})

    text = page.get("/", params={"namespaces": number}).text
    assert "page 1 of 3" in text or ("page 3 of 3" in text and number.startswith("9"))


def test_a_game_without_javascript_is_a_whole_page() -> None:
    rules = "[{target_label: team, replacement: blue}]"
    answer = Page().post("/playground", data={"rules": rules, "series": "up"})

    assert "<!doctype html>" in answer.text
    assert "up{team=&#34;blue&#34;}" in answer.text
    assert rules in answer.text


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"a=" + b"x" * 70_000, 413), (b"\xff", 400), (b"a&" * 100, 400), (b"", 200)],
    ids=["large", "not-utf8", "many-fields", "empty"],
)
def test_an_odd_form_is_refused_or_played(content: bytes, status: int) -> None:
    assert Page().post("/playground?part", content=content).status_code == status


def test_assets_are_addressed_by_their_content() -> None:
    page = Page()
    addresses = re.findall(r'"(/assets/[^"]+)"', page.get("/").text)

    assert {address.split("?")[0] for address in addresses} == {
        "/assets/icon.svg", "/assets/page.css", "/assets/page.js",
    }  # fmt: skip
    for address in addresses:
        answer = page.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_nothing_can_be_changed_here() -> None:
    for path in ("/", "/live", "/assets/page.css"):
        assert Page().post(path).status_code == 405
    assert Page().get("/no").status_code == 404


def test_another_origin_is_refused_by_a_browser_that_says_no_more() -> None:
    headers = {"origin": "https://evil.example"}

    assert Page().post("/playground", headers=headers, data={"rules": "[]"}).status_code == 403


def test_half_of_a_surrogate_pair_is_shown_as_a_question_mark() -> None:
    page = Page()
    entry = Reviewed(0.0, "inject", "shop", "\ud800", "injected", "", (), False, 0.001)
    page.sources.journal.add(entry)
    page.sources.cluster.put(
        "Namespace", {"metadata": {"name": "shop", "labels": {"team": "\ud800"}}}
    )

    assert "shop/<wbr>?" in page.get("/").text


def test_a_gateway_s_row_shows_nothing_that_it_does_not_have() -> None:
    page = Page()
    report = {"proxyVersion": "1", "policyVersion": "2", "targets": [], "samples": 0}
    page.sources.proxies.reports.put(("livery-system", "gw"), {**report, "role": "gateway"})
    page.sources.proxies.reports.put(("shop", "web"), report)

    gateway, web = (
        re.search(f'<tr id="w-{name}">.*?</tr>', page.get("/").text, re.DOTALL)
        for name in ("livery-system/gw", "shop/web")
    )
    assert gateway is not None
    assert web is not None
    assert "no Prometheus found yet" in gateway[0]
    assert "0 → 0" not in gateway[0]
    assert "0 → 0" in web[0]


def _sending_page() -> Page:
    page = Page()
    target = {"type": "prometheus", "prometheus": {"serviceName": "prometheus"}}
    remote = {"enabled": True, "target": target}
    spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote}
    metadata = {"name": "front", "namespace": "shop"}
    page.sources.cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})
    sent = {
        "namespace": "shop", "rule": "front", "sent": 80, "failed": 2, "dropped": 1, "waiting": 5,
        "lagSeconds": 12.0, "lastSentAt": 1_795_000_000.0, "error": HOSTILE, "series": 40,
    }  # fmt: skip
    page.sources.proxies.reports.put(("shop", "web-0"), {"sending": [sent]})
    return page


def test_how_sending_goes_is_shown_by_object() -> None:
    text = _sending_page().get("/").text

    for shown in (
        "40 series by 1 sender", "80 samples sent, 5 waiting, lag 12 s", "2 refused, 1 dropped",
        "&lt;script&gt;alert(1)",
    ):  # fmt: skip
        assert shown in text
    assert HOSTILE not in text


def test_why_nothing_is_sent_is_shown() -> None:
    page = _sending_page()
    spec = {"metrics": ["up"], "remoteWrite": {"enabled": True, "target": {"type": "prometheus"}}}
    metadata = {"name": "odd", "namespace": "shop"}
    page.sources.cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})

    assert "nothing is sent: spec.remoteWrite.target.prometheus.serviceName" in page.get("/").text


def test_what_was_collected_is_told_by_tenant_and_rule() -> None:
    answer = _sending_page().get("/collected-metrics")

    assert answer.headers["content-type"] == "application/json"
    facts = answer.json()["shop"]["front"]
    assert (facts["series"], facts["sent"], facts["senders"]) == (40, 80, 1)
