from pathlib import Path

import pytest

from tests.injector.conftest import Livery

_EXAMPLE = Path("examples/forwarding/shop.yaml")
_OBJECT = """
kind: MetricAccess
metadata: {name: web, namespace: shop}
spec:
  metrics: [up, "http_.*", "("]
  metricIsolation: true
  remoteWrite:
    enabled: true
    interval: 15s
    target: {type: prometheus, prometheus: {serviceName: prometheus}}
    extraLabels: {env: prod}
    metricRelabelings:
      - {sourceLabels: [code], regex: "5..", targetLabel: failed, replacement: "yes"}
      - {sourceLabels: [path], regex: /healthz, action: drop}
"""


def _explain(livery: Livery, *arguments: str, stdin: str = _OBJECT) -> list[str]:
    ran = livery("explain", "access", "-f", "-", *arguments, stdin=stdin)
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


def test_it_says_what_is_shown_and_where_it_is_sent(livery: Livery) -> None:
    assert _explain(livery) == [
        "shop/web",
        "  shows  up, http_.* in shop",
        "  sends  every 15 s, by the proxies of its namespace",
        "  to     http://prometheus.shop.svc.cluster.local:9090/api/v1/write",
        "  not active: pattern '(': '(' is not a valid RE2 pattern: missing ): ^(?s:()$",
    ]


def test_what_becomes_of_a_series_is_shown_step_by_step(livery: Livery) -> None:
    assert _explain(livery, "--series", 'http_total{code="503"}')[-5:] == [
        '  series http_total{code="503",namespace="shop"}',
        "  selected by http_.*",
        '  metricRelabelings[0] (replace): http_total{code="503",failed="yes",namespace="shop"}',
        '  metricRelabelings[1] (drop): http_total{code="503",failed="yes",namespace="shop"} '
        "(unchanged)",
        '  sent as http_total{code="503",env="prod",failed="yes",managed_by="livery",'
        'namespace="shop",tenant="shop"}',
    ]


@pytest.mark.parametrize(
    ("series", "last"),
    [
        ("other", "  not selected: no pattern matches, or a labelSelector does not"),
        ('http_x{path="/healthz"}', "  dropped by metricRelabelings[1] (drop)"),
    ],
)
def test_why_a_series_is_not_sent_is_said(livery: Livery, series: str, last: str) -> None:
    assert _explain(livery, "--series", series)[-1] == last


def test_the_example_s_objects_are_explained(livery: Livery) -> None:
    lines = _explain(livery, stdin=_EXAMPLE.read_text())

    assert (
        "  to     http://prometheus-shop-1.prometheus-operated.shop.svc.cluster.local:9090"
        in str(lines)
    )
    assert (
        "  with   Secret metrics-example, key token, which must be annotated "
        "livery.dev/remote-write-hosts=metrics.example.com" in lines
    )


def test_a_target_that_cannot_be_sent_to_is_said(livery: Livery) -> None:
    lines = _explain(livery, stdin=_OBJECT.replace("serviceName: prometheus", "servicePort: 1"))

    assert "  nothing is sent: spec.remoteWrite.target.prometheus.serviceName" in str(lines)


def test_what_is_not_sent_is_not_shown_as_sent(livery: Livery) -> None:
    wrong = _OBJECT.replace("{env: prod}", "{bad-name: x}")
    lines = _explain(livery, "--series", "http_total", stdin=wrong)

    said = "  nothing is sent: spec.remoteWrite.extraLabels: 'bad-name' is not a label name"
    assert said in str(lines)
    assert "sent as" not in str(lines)
    assert "  selected by http_.*" in lines


def test_the_status_of_an_object_of_a_cluster_is_told(livery: Livery) -> None:
    status = """
status:
  conditions: [{type: Ready, status: "False", reason: SendingFails, message: it is away}]
  remoteWrite: {series: 4, senders: 2, samplesSent: 80, samplesWaiting: 3, lagSeconds: 7}
"""
    lines = _explain(livery, stdin=_OBJECT + status)

    assert lines[-2:] == [
        "  SendingFails: it is away",
        "  now    4 series by 2 senders; samples: 80 sent, 0 refused, 0 dropped, 3 waiting; "
        "lag 7 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("other",), 1, "there is no MetricAccess object other in the files"),
        (("-n", "bank"), 1, "there is no MetricAccess object in bank"),
        (("--series", "up{"), 2, "--series: 1:"),
        (("--series", 'up{a=~"b"}'), 2, 'write labels as name="value"'),
    ],
)
def test_a_wrong_call_is_said(
    livery: Livery, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = livery("explain", "access", "-f", "-", *arguments, stdin=_OBJECT)

    assert ran.code == code
    assert said in ran.out + ran.err


def test_without_a_namespace_and_files_one_is_asked_for(livery: Livery) -> None:
    ran = livery("explain", "access")

    assert (ran.code, "-n NAMESPACE or -f FILE is required" in ran.err) == (2, True)
