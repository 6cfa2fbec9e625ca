"""Parses and answers AdmissionReview v1, on raw JSON.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from injector.errors import ObjectError, RequestError
from injector.model.admission.patch import Operation
from injector.model.cluster.objects import Object, get_mapping, get_text

API_VERSION = "admission.k8s.io/v1"
MAX_REVIEW_BYTES = 3 << 20
"""etcd stores objects of up to 1.5 MiB; a review may contain an old and a new one."""
MAX_REVIEW_VALUES = 300_000
"""Maximum number of `,`, `[` and `{` in a body, each of which may become a Python object."""
MAX_UID_CHARACTERS = 253
MAX_NAME_CHARACTERS = 253
"""Kubernetes has no longer names: they are truncated to this for logging and storage."""


class AdmissionReview(NamedTuple):
    """One admission request of the API server."""

    uid: str
    kind: str
    operation: str
    namespace: str
    name: str
    obj: Object
    is_dry_run: bool


class Verdict(NamedTuple):
    """The response: allowed with operations and warnings, or refused with a message."""

    operations: Sequence[Operation] = ()
    warnings: Sequence[str] = ()
    refusal: str = ""


def parse_review(body: bytes) -> AdmissionReview:
    """Parse a review.

    Raises:
        RequestError: the body has too many values, or is not JSON or not a valid review.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_REVIEW_VALUES:
        raise RequestError(413, f"the body contains more than {MAX_REVIEW_VALUES} values")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise RequestError(400, f"the body is {reason}") from error
    if not isinstance(value, dict) or value.get("kind") != "AdmissionReview":
        raise RequestError(400, "the body is not an AdmissionReview")
    if value.get("apiVersion") != API_VERSION:
        raise RequestError(
            400, f"apiVersion {str(value.get('apiVersion'))[:60]!r} is not {API_VERSION}"
        )
    try:
        return _parse_request(value)
    except ObjectError as error:
        raise RequestError(400, str(error)) from error


def render_review(uid: str, verdict: Verdict) -> bytes:
    """Return the response to a review."""
    response: dict[str, Any] = {"uid": uid, "allowed": not verdict.refusal}
    if verdict.operations:
        patch = json.dumps(list(verdict.operations)).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    if verdict.refusal:
        response["status"] = {"code": 422, "reason": "Invalid", "message": verdict.refusal}
    return json.dumps(
        {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
    ).encode()


def _parse_request(value: Object) -> AdmissionReview:
    request = get_mapping(value, "request")
    uid = get_text(request, "uid", "request")
    if not uid:
        raise RequestError(400, "request.uid: missing")
    if len(uid) > MAX_UID_CHARACTERS:
        raise RequestError(400, f"request.uid: longer than {MAX_UID_CHARACTERS} characters")
    return AdmissionReview(
        uid=uid,
        kind=_short(get_mapping(request, "kind", "request"), "kind", "request.kind"),
        operation=_short(request, "operation", "request"),
        namespace=_short(request, "namespace", "request"),
        name=_short(request, "name", "request"),
        obj=get_mapping(request, "object", "request"),
        is_dry_run=request.get("dryRun") is True,
    )


def _short(value: Object, name: str, path: str) -> str:
    return get_text(value, name, path)[:MAX_NAME_CHARACTERS]
