import json
import re
from typing import Any

import pytest

from injector.model.admission.outcomes import Reason, WarningCode
from injector.model.admission.reviews import MAX_REVIEW_BYTES
from injector.model.cluster.state import ClusterState
from tests.injector.webhook import Json, Webhook, apply, decode_patch, render_review

_REVIEWS = "livery_admission_reviews_total"
_WARNINGS = "livery_admission_warnings_total"


def _pod(**annotations: str) -> Json:
    metadata = {"name": "web", "annotations": {"prometheus.io/scrape": "true", **annotations}}
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "web"}]}}


class _BrokenWorld(ClusterState):
    """Raises in the middle of a decision, as a bug would."""

    def in_namespace(self, kind: str, namespace: str) -> list[Any]:
        missing: dict[str, Any] = {}
        return [missing[f"{kind}/{namespace}"]]


def test_a_pod_that_asks_is_patched() -> None:
    response = Webhook().answer(render_review(_pod()))

    patched = apply(_pod(), decode_patch(response))
    assert response["uid"] == "uid-1"
    assert [item["name"] for item in patched["spec"]["initContainers"]] == ["livery-proxy"]


def test_a_pod_that_does_not_ask_is_allowed_without_a_word() -> None:
    response = Webhook().answer(render_review({"spec": {"containers": [{"name": "a"}]}}))

    assert response == {"uid": "uid-1", "allowed": True}


@pytest.mark.parametrize(
    "request_fields",
    [
        {"kind": {"kind": "Deployment"}},
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT"},
    ],
    ids=str,
)
def test_what_is_not_a_pods_creation_is_allowed_unchanged(request_fields: Json) -> None:
    response = Webhook().answer(render_review(_pod(), **request_fields))

    assert response == {"uid": "uid-1", "allowed": True}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "not an AdmissionReview"),
        (json.dumps({**render_review(_pod()), "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
         "v1beta1"),
        (json.dumps(render_review(_pod(), uid="")).encode(), "request.uid"),
        (json.dumps(render_review("x")).encode(), "request.object"),
    ],
    ids=["empty", "not-json", "deep", "list", "old-version", "no-uid", "no-object"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/mutate", "/prepare"])
def test_what_is_no_review_is_answered_with_400(path: str, body: bytes, says: str) -> None:
    answered = Webhook().send("POST", path, body)

    assert answered.status_code == 400
    assert says in answered.text
    assert answered.text.count("\n") == 1


def test_a_body_over_the_limit_is_answered_with_413() -> None:
    webhook = Webhook()

    assert webhook.send("POST", "/mutate", b" " * MAX_REVIEW_BYTES).status_code == 400
    assert webhook.send("POST", "/mutate", b" " * (MAX_REVIEW_BYTES + 1)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/mutate", 405), ("PUT", "/mutate", 405), ("GET", "/prepare", 405),
     ("POST", "/", 404), ("GET", "/metrics", 404)],
)  # fmt: skip
def test_other_methods_and_paths_are_refused(method: str, path: str, status: int) -> None:
    assert Webhook().send(method, path).status_code == status


def test_a_dry_run_gets_the_same_patch_and_is_counted_apart() -> None:
    webhook = Webhook()

    real = webhook.answer(render_review(_pod()))
    dry = webhook.answer(render_review(_pod(), dryRun=True))

    assert dry == real
    facts = {"webhook": "inject", "reason": "injected"}
    assert webhook.count(_REVIEWS, **facts, dry_run="false") == 1
    assert webhook.count(_REVIEWS, **facts, dry_run="true") == 1


def test_an_internal_error_admits_the_pod_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    webhook = Webhook(_BrokenWorld())

    response = webhook.answer(render_review(_pod()))

    assert response == {
        "uid": "uid-1",
        "allowed": True,
        "warnings": ["livery: no proxy was added: internal error"],
    }
    assert webhook.count(_REVIEWS, webhook="inject", reason="internal-error", dry_run="false") == 1
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "annotations",
    [
        {"livery.dev/inject": "x\r\ny" * 500},
        {"livery.dev/targets": ",".join(f"web=http://h{i}:80" for i in range(16))},
        {"livery.dev/job": "\u2028" * 300},
        {"prometheus.io/port": "\x1b[31m" * 100},
        {"livery.dev/cpu-limit": "\x85\n" * 100},
        {f"prometheus{sign}io{sign}port": sign for sign in "-_.,;:!"},
    ],
    ids=["inject", "targets", "job", "port", "cpu", "spellings"],
)
def test_warnings_are_one_line_of_256_characters_at_most(annotations: dict[str, str]) -> None:
    warnings = Webhook().answer(render_review(_pod(**annotations)))["warnings"]

    assert warnings
    for warning in warnings:
        assert len(warning) <= 256
        assert len(warning.splitlines()) == 1
        assert "\x1b" not in warning


def test_labels_of_metrics_are_codes_whatever_is_sent() -> None:
    webhook = Webhook()
    for index in range(50):
        pod = _pod(**{"livery.dev/inject": f"v{index}", "livery.dev/job": f" {index}"})
        review = render_review(pod, namespace=f"n{index}", kind={"kind": f"K{index % 3}"})
        webhook.answer(review)
        webhook.answer({**review, "request": {**review["request"], "kind": {"kind": "Pod"}}})

    reasons = {item["reason"] for item in webhook.labels_of(_REVIEWS)}
    codes = {item["code"] for item in webhook.labels_of(_WARNINGS)}
    assert reasons == {"injected", "not-a-pod"} <= set(Reason)
    assert codes == {"bad-annotation"} <= set(WarningCode)


def test_latency_is_observed() -> None:
    webhook = Webhook()
    webhook.answer(render_review(_pod()))

    assert webhook.count("livery_admission_duration_seconds_count", webhook="inject") == 1


@pytest.mark.parametrize(
    "obj",
    [
        {"metadata": [], "spec": {}},
        {"metadata": {"annotations": {"livery.dev/inject": True}}},
        {"metadata": {"generateName": 5}, "spec": {"containers": "x"}},
        {"spec": {"containers": [1]}},
        {},
    ],
    ids=str,
)
def test_a_malformed_pod_is_left_to_the_api_server(obj: Json) -> None:
    response = Webhook().answer(render_review(obj))

    assert response["allowed"] is True
    assert "patch" not in response


def test_halves_of_surrogate_pairs_are_answered() -> None:
    body = json.dumps(render_review(_pod(**{"livery.dev/job": "\ud800", "x": "\udfff"})))

    answered = Webhook().send("POST", "/mutate", body.encode())

    assert answered.status_code == 200
    assert answered.json()["response"]["allowed"] is True


def test_a_pod_with_2000_variables_is_changed_only_on_our_paths() -> None:
    pod = _pod()
    pod["spec"]["containers"][0]["env"] = [
        {"name": f"V{index}", "value": "x" * 700} for index in range(2000)
    ]
    response = Webhook().answer(render_review(pod))

    assert len(response["patch"]) < 10_000
    assert not re.search("/env", json.dumps([item["path"] for item in decode_patch(response)]))


def test_reviewed_again_by_a_second_replica_nothing_changes() -> None:
    first = decode_patch(Webhook().answer(render_review(_pod())))
    patched = apply(_pod(), first)

    assert Webhook().answer(render_review(patched)) == {"uid": "uid-1", "allowed": True}


def test_the_authorities_of_now_are_written_into_pods() -> None:
    webhook = Webhook()
    webhook.context.ca_bundle = "PEM-2"

    text = json.dumps(decode_patch(webhook.answer(render_review(_pod()))))

    assert '"LIVERY_CONTROL_CA", "value": "PEM-2"' in text


_NODE = {"kind": "DaemonSet", "metadata": {"name": "n", "labels": {"livery.dev/role": "node"}}}


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_node_daemon_set_is_completed(operation: str) -> None:
    webhook = Webhook()
    obj: Json = {**_NODE, "spec": {"template": {}}}

    response = webhook.answer(render_review(obj, operation=operation), "/prepare")

    completed = apply(obj, decode_patch(response))
    assert completed["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": "n"}}
    assert webhook.count(_REVIEWS, webhook="prepare", reason="prepared", dry_run="false") == 1


def test_a_malformed_node_daemon_set_is_refused_with_the_field() -> None:
    response = Webhook().answer(render_review({**_NODE, "spec": {"template": []}}), "/prepare")

    assert response["allowed"] is False
    assert response["status"]["message"] == "livery: spec.template: a mapping is needed"


@pytest.mark.parametrize(
    ("obj", "operation"),
    [
        (_NODE, "DELETE"),
        ({"kind": "DaemonSet", "metadata": {"labels": {"livery.dev/role": "x"}}}, "CREATE"),
        ({"kind": "Deployment", "metadata": {}}, "CREATE"),
    ],
    ids=["deleted", "another-role", "another-kind"],
)
def test_other_objects_are_not_prepared(obj: Json, operation: str) -> None:
    response = Webhook().answer(render_review(obj, operation=operation), "/prepare")

    assert response == {"uid": "uid-1", "allowed": True}


def test_the_labels_of_a_namespace_that_never_asked_for_injection_are_not_given_away() -> None:
    cluster = ClusterState()
    cluster.put("Namespace", {"metadata": {"name": "shop", "labels": {"tribe": "x-ray"}}})

    answer = Webhook(cluster).answer(render_review(_pod()))

    assert "tribe" not in json.dumps(decode_patch(answer))


def test_a_huge_name_makes_no_huge_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pod = _pod()
    pod["metadata"]["generateName"] = "x" * 1_000_000
    Webhook().answer(render_review(pod, name="y" * 1_000_000, namespace="z" * 1_000_000))

    assert max(len(str(record.__dict__)) for record in caplog.records) < 5_000
