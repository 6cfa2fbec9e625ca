"""The claims of a service account's token, checked before the token is reviewed.

Only the API server verifies a token: this check merely spares it tokens that cannot be valid.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

import base64
import json
from typing import Any, NamedTuple

from injector.errors import IdentityError

MAX_TOKEN_CHARACTERS = 16 << 10


class Claims(NamedTuple):
    """The claims that matter here."""

    audiences: tuple[str, ...]
    expires_at: float | None
    """Unix time; None if the token does not say."""
    has_pod: bool


def check_claims(token: str, audience: str, now: float) -> Claims:
    """Reject a token that cannot be a pod's token for an audience.

    Raises:
        IdentityError: 401 if it is malformed, for another audience, or expired; 403 if it is not
            bound to a pod.
    """
    claims = _read_claims(token)
    if audience not in claims.audiences:
        raise IdentityError(401, f"the token is not for the audience {audience}")
    if claims.expires_at is not None and claims.expires_at <= now:
        raise IdentityError(401, "the token has expired")
    if not claims.has_pod:
        raise IdentityError(403, "the token belongs to no pod")
    return claims


def _read_claims(token: str) -> Claims:
    parts = token.split(".")
    if len(token) > MAX_TOKEN_CHARACTERS or len(parts) != 3 or not all(parts):
        raise IdentityError(401, "the token is not a service account's")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        values = json.loads(payload)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise IdentityError(401, "the token is not a service account's")
    audiences = values.get("aud")
    named = audiences if isinstance(audiences, list) else [audiences]
    return Claims(
        tuple(item for item in named if isinstance(item, str)),
        _read_expiry(values.get("exp")),
        _has_pod(values.get("kubernetes.io")),
    )


def _read_expiry(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 2**53 else None


def _has_pod(facts: Any) -> bool:
    pod = facts.get("pod") if isinstance(facts, dict) else None
    return isinstance(pod, dict) and bool(pod.get("name")) and bool(pod.get("uid"))
