"""Time to admit one pod, in process: from the review's bytes to the response's."""

import time

from bench.reviews import pod_review
from bench.table import Row, percentile
from injector.model.admission.reviews import parse_review, render_review
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from injector.web.admission import AdmissionContext, review_pod
from injector.web.metrics import InjectorMetrics

_REVIEWS = 2000


def measure() -> list[Row]:
    cluster = ClusterState()
    labels = {"team": "frontend", "kubernetes.io/metadata.name": "shop"}
    cluster.put("Namespace", {"metadata": {"name": "shop", "labels": labels}})
    context = AdmissionContext(cluster, Platform(), InjectorMetrics())
    context.ca_bundle = "-----BEGIN CERTIFICATE-----\n" + "A" * 800
    usual = _times(context, pod_review(20), _REVIEWS)
    large = _times(context, pod_review(2000), 500)
    return [
        Row(
            "admission in process, p99",
            percentile(usual, 0.99) * 1000,
            "ms",
            2,
            f"p50 {percentile(usual, 0.5) * 1000:.2f} ms",
        ),
        Row(
            "a pod with 2,000 variables, p99",
            percentile(large, 0.99) * 1000,
            "ms",
            10,
            f"p50 {percentile(large, 0.5) * 1000:.2f} ms; published for another injector: 860 ms",
        ),
    ]


def _times(context: AdmissionContext, body: bytes, count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        review = parse_review(body)
        render_review(review.uid, review_pod(review, context).verdict)
        times.append(time.perf_counter() - started)
    return times
