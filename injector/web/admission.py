"""The admission webhooks: `POST /mutate` for pods, `POST /prepare` for DaemonSets.

On an internal error, a pod is admitted unpatched, with a warning: a metrics proxy must never
block a workload.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from injector.control.journal import Journal, Reviewed
from injector.errors import ObjectError, RequestError
from injector.model.admission.daemonsets import prepare
from injector.model.admission.decide import decide
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import AdmissionWarning, Reason, WarningCode
from injector.model.admission.reviews import (
    MAX_NAME_CHARACTERS,
    MAX_REVIEW_BYTES,
    AdmissionReview,
    Verdict,
    parse_review,
    render_review,
)
from injector.model.cluster.objects import name_of
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from injector.web.bodies import BodyBudget, refusal
from injector.web.metrics import InjectorMetrics

logger = logging.getLogger(__name__)

# Bounds of a journal entry: entries stay in memory and contain text written by tenants.
_MAX_SENTENCE, _MAX_WARNINGS = 300, 8


class Outcome(NamedTuple):
    """The outcome of one review."""

    reason: Reason
    verdict: Verdict
    warnings: Sequence[AdmissionWarning] = ()
    sentence: str = ""
    """The outcome in words; empty if the reason's own sentence is enough."""


class AdmissionContext:
    """State and settings that the webhooks use."""

    def __init__(
        self,
        cluster: ClusterState,
        platform: Platform,
        metrics: InjectorMetrics,
        journal: Journal | None = None,
    ) -> None:
        self.cluster = cluster
        self.journal = journal or Journal()
        self.platform = platform
        self.metrics = metrics
        self.bodies = BodyBudget()
        self.ca_bundle = ""
        """PEM bundle of the CAs that proxies in pods must trust."""


def build_admission_app(context: AdmissionContext) -> Starlette:
    """Build the app behind the admission port."""

    async def mutate(request: Request) -> Response:
        return await _answer(request, context, "inject", review_pod)

    async def prepare_daemonset(request: Request) -> Response:
        return await _answer(request, context, "prepare", review_daemonset)

    app = Starlette(
        routes=[
            Route("/mutate", mutate, methods=["POST"]),
            Route("/prepare", prepare_daemonset, methods=["POST"]),
        ]
    )
    app.router.redirect_slashes = False  # it would trust the client's Host header
    return app


def review_pod(review: AdmissionReview, context: AdmissionContext) -> Outcome:
    """Decide whether and how to inject a pod."""
    if review.kind != "Pod":
        return Outcome(Reason.NOT_A_POD, Verdict())
    if review.operation != "CREATE":
        return Outcome(Reason.NOT_A_CREATE, Verdict())
    try:
        decision = decide(
            review.obj, review.namespace, context.cluster, context.platform, only_labelled=True
        )
        operations = patch(review.obj, decision, context.platform, context.ca_bundle)
    except Exception:
        logger.exception("pod review failed; the pod is admitted unchanged")
        warning = AdmissionWarning(WarningCode.LEFT_ALONE, "no proxy was added: internal error")
        return Outcome(Reason.INTERNAL_ERROR, Verdict(warnings=[str(warning)]), [warning])
    texts = [str(warning) for warning in decision.warnings]
    verdict = Verdict(operations, texts)
    return Outcome(decision.reason, verdict, decision.warnings, decision.sentence)


def review_daemonset(review: AdmissionReview, context: AdmissionContext) -> Outcome:
    """Complete a DaemonSet, or reject it: without the missing fields it could not run."""
    if review.kind != "DaemonSet" or review.operation not in ("CREATE", "UPDATE"):
        return Outcome(Reason.NOT_A_PROXY, Verdict())
    try:
        reason, operations = prepare(review.obj, context.platform, context.ca_bundle)
    except ObjectError as error:
        return Outcome(Reason.MALFORMED, Verdict(refusal=f"livery: {error}"))
    except Exception:
        logger.exception("DaemonSet preparation failed; the DaemonSet is rejected")
        text = "livery: the DaemonSet could not be prepared: internal error; see the injector's log"
        return Outcome(Reason.INTERNAL_ERROR, Verdict(refusal=text))
    return Outcome(reason, Verdict(operations))


async def _answer(
    request: Request,
    context: AdmissionContext,
    webhook: str,
    decide_review: Callable[[AdmissionReview, AdmissionContext], Outcome],
) -> Response:
    try:
        async with context.bodies.reading(request, MAX_REVIEW_BYTES) as body:
            return _review(body, context, webhook, decide_review)
    except RequestError as error:
        context.metrics.refused_reviews.labels(str(error.status)).inc()
        return refusal(error, error.status)


def _review(
    body: bytes,
    context: AdmissionContext,
    webhook: str,
    decide_review: Callable[[AdmissionReview, AdmissionContext], Outcome],
) -> Response:
    started = time.perf_counter()
    review = parse_review(body)
    outcome = decide_review(review, context)
    metrics, dry_run = context.metrics, str(review.is_dry_run).lower()
    metrics.reviews.labels(webhook, outcome.reason, dry_run).inc()
    for warning in outcome.warnings:
        metrics.warnings.labels(warning.code).inc()
    logger.info(
        "reviewed",
        extra={
            "webhook": webhook,
            "namespace": review.namespace,
            "object": _object_name(review),
            "reason": outcome.reason,
            "dry_run": review.is_dry_run,
            "warnings": [warning.code for warning in outcome.warnings],
        },
    )
    answer = render_review(review.uid, outcome.verdict)
    seconds = time.perf_counter() - started
    metrics.review_seconds.labels(webhook).observe(seconds)
    context.journal.add(_journal_entry(webhook, review, outcome, seconds))
    return Response(answer, media_type="application/json")


def _journal_entry(
    webhook: str, review: AdmissionReview, outcome: Outcome, seconds: float
) -> Reviewed:
    return Reviewed(
        at=time.time(),
        webhook=webhook,
        namespace=review.namespace,
        name=_object_name(review),
        reason=outcome.reason,
        sentence=(outcome.sentence or outcome.reason.sentence)[:_MAX_SENTENCE],
        warnings=tuple(str(item)[:_MAX_SENTENCE] for item in outcome.warnings[:_MAX_WARNINGS]),
        is_dry_run=review.is_dry_run,
        seconds=seconds,
    )


def _object_name(review: AdmissionReview) -> str:
    try:
        generated = str(review.obj.get("metadata", {}).get("generateName", ""))
        return (review.name or name_of(review.obj) or generated)[:MAX_NAME_CHARACTERS]
    except (AttributeError, ObjectError):
        return review.name
