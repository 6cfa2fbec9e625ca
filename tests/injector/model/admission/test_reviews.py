import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.errors import RequestError
from injector.model.admission.reviews import Verdict, parse_review, render_review
from tests.injector.model.pods import JSON

_REQUEST: dict[str, Any] = {"uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE"}


def _body(**changed: Any) -> bytes:
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return json.dumps({**document, "request": _REQUEST, **changed}).encode()


def test_a_review_is_read() -> None:
    request = {**_REQUEST, "namespace": "n", "name": "p", "object": {"a": 1}, "dryRun": True}

    review = parse_review(_body(request=request))

    assert review == ("u", "Pod", "CREATE", "n", "p", {"a": 1}, True)


@pytest.mark.parametrize("dry_run", [False, None, "true", 1])
def test_only_true_is_a_dry_run(dry_run: object) -> None:
    assert not parse_review(_body(request={**_REQUEST, "dryRun": dry_run})).is_dry_run


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "not an AdmissionReview"),
        (b"null", "not an AdmissionReview"),
        (b"{}", "not an AdmissionReview"),
        (_body(kind="Review"), "not an AdmissionReview"),
        (_body(apiVersion="admission.k8s.io/v1beta1"), "v1beta1"),
        (_body(apiVersion=None), "is not admission.k8s.io/v1"),
        (_body(apiVersion="x" * 10_000), "is not admission.k8s.io/v1"),
        (_body(request=None), "request.uid"),
        (_body(request=[]), "request: a mapping is needed"),
        (_body(request={}), "request.uid"),
        (_body(request={**_REQUEST, "uid": ""}), "request.uid"),
        (_body(request={**_REQUEST, "uid": 5}), "request.uid"),
        (_body(request={**_REQUEST, "kind": "Pod"}), "request.kind"),
        (_body(request={**_REQUEST, "object": "x"}), "request.object"),
        (_body(request={**_REQUEST, "namespace": 1}), "request.namespace"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_review_is_refused_as_400(body: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        parse_review(body)

    assert caught.value.status == 400
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_else(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_review(body)


def test_a_plain_answer_allows_and_says_no_more() -> None:
    answer = json.loads(render_review("u", Verdict()))

    assert answer == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u", "allowed": True},
    }


def test_an_answer_carries_patch_and_warnings() -> None:
    operations = [{"op": "add", "path": "/a", "value": "é"}]

    response = json.loads(render_review("u", Verdict(operations, ["w"])))["response"]

    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == operations
    assert response["warnings"] == ["w"]


def test_a_refusal_says_why() -> None:
    response = json.loads(render_review("u", Verdict(refusal="no")))["response"]

    assert response["allowed"] is False
    assert response["status"] == {"code": 422, "reason": "Invalid", "message": "no"}


def test_a_body_of_very_many_values_is_refused_before_they_are_made() -> None:
    with pytest.raises(RequestError, match="more than 300000 values") as caught:
        parse_review(_body(request={**_REQUEST, "object": {"a": [[]] * 200_000}}))
    assert caught.value.status == 413


@pytest.mark.parametrize("field", ["name", "namespace", "operation"])
def test_a_long_field_is_cut_off_where_it_is_read(field: str) -> None:
    review = parse_review(_body(request={**_REQUEST, field: "x" * 1_000_000}))

    assert len(getattr(review, field)) == 253


def test_a_uid_that_is_too_long_to_be_one_is_refused() -> None:
    with pytest.raises(RequestError, match=r"request\.uid: longer than 253"):
        parse_review(_body(request={**_REQUEST, "uid": "x" * 254}))
