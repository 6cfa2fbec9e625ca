"""TokenReview and SubjectAccessReview requests to the API server; they block.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
and https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
"""

from typing import Any

from injector.control.identity import AccessAttributes
from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient

_NO_TOKEN = (400, 422)
"""Statuses with which the API server rejects what is not a token at all."""


def review_token(client: KubeClient, token: str, *audiences: str) -> dict[str, Any]:
    """Return the status of a TokenReview; empty if the API server rejects it as not a token.

    Args:
        client: the cluster.
        token: the token.
        audiences: audiences of which it must have one; if empty, it must have the API server's.

    Raises:
        KubeError: the request failed.
    """
    spec: JsonObject = {"token": token}
    if audiences:
        spec["audiences"] = list(audiences)
    try:
        return _create(client, "authentication.k8s.io", "TokenReview", spec)
    except KubeError as error:
        if error.status in _NO_TOKEN:
            return {}
        raise


def may_access(client: KubeClient, user: JsonObject, access: AccessAttributes) -> bool:
    """Tell whether a user of a TokenReview may do something.

    Raises:
        KubeError: the request failed.
    """
    spec: JsonObject = {"user": user["username"], **{
        name: user[name] for name in ("groups", "uid", "extra") if user.get(name)
    }}  # fmt: skip
    if access.path:
        spec["nonResourceAttributes"] = {"verb": access.verb, "path": access.path}
    else:
        given = access._asdict()
        spec["resourceAttributes"] = {name: given[name] for name in given if given[name]}
    status = _create(client, "authorization.k8s.io", "SubjectAccessReview", spec)
    return status.get("allowed") is True and status.get("denied") is not True


def _create(client: KubeClient, group: str, kind: str, spec: JsonObject) -> dict[str, Any]:
    body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
    path = f"/apis/{group}/v1/{kind.lower()}s"
    status = client.request("POST", path, body=body).get("status")
    return status if isinstance(status, dict) else {}
