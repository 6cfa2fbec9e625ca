"""Identity by TokenReview: the API server says which pod holds a token.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import asyncio
import base64
import hashlib
import json
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from injector.control.identity import Caller
from injector.errors import IdentityError, KubeError
from injector.kube.client import KubeClient
from injector.model.names import TOKEN_AUDIENCE

CACHE_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""How long a refusal counts: who asks in a loop is not put through."""
RECHECK_SECONDS = 300.0
"""How often an open stream's token is judged again: 10,000 streams are 33 reviews a second."""
MAX_REVIEWS = 16
"""At once: a storm of reconnects is put through to the API server at its pace."""
MAX_REMEMBERED = 50_000
MAX_TOKEN_CHARACTERS = 16 << 10
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_ACCOUNT = "system:serviceaccount:"


class _Judged(NamedTuple):
    at: float
    caller: Caller | None
    error: IdentityError | None


class TokenReviewAuthenticator:
    """Asks the API server, and remembers what it said by the token's hash."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._judged: OrderedDict[bytes, _Judged] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[_Judged]] = {}
        self._gate = asyncio.Semaphore(MAX_REVIEWS)

    async def authenticate(self, token: str) -> Caller:
        """Return the token's pod.

        Raises:
            IdentityError: 401 not valid for us, 403 of no pod, 503 the API server did not say.
        """
        return await self._find(token, CACHE_SECONDS)

    async def still_counts(self, token: str, caller: Caller) -> bool:
        """Tell whether an open stream's token is still the caller's."""
        if caller.expires_at is not None and time.time() >= caller.expires_at:
            return False
        try:
            return await self._find(token, RECHECK_SECONDS) == caller
        except IdentityError as error:
            # Streams live on while the API server is away: their proxies have what they would get.
            return error.status == 503

    async def _find(self, token: str, max_age_seconds: float) -> Caller:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise IdentityError(401, "the token is too long")
        key = hashlib.sha256(token.encode(errors="replace")).digest()
        judged = self._judged.get(key)
        if judged is None or not _is_fresh(judged, max_age_seconds):
            task = self._asked.get(key)
            if task is None:
                # Of its own, so that who goes away does not take the answer from the others.
                task = self._asked[key] = asyncio.create_task(self._ask(key, token))
            judged = await asyncio.shield(task)
        if judged.caller is None:
            raise judged.error or IdentityError(401, "the token is not known")
        return judged.caller

    async def _ask(self, key: bytes, token: str) -> _Judged:
        try:
            async with self._gate:
                judged = await asyncio.to_thread(self._review, token)
        finally:
            del self._asked[key]
        if judged.error is None or judged.error.status != 503:
            self._judged[key] = judged
            self._judged.move_to_end(key)
            while len(self._judged) > MAX_REMEMBERED:
                self._judged.popitem(last=False)
        return judged

    def _review(self, token: str) -> _Judged:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [TOKEN_AUDIENCE]},
        }
        try:
            answer = self._client.request(
                "POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=body
            )
            caller = _read(answer.get("status") or {}, _expiry(token))
        except KubeError as error:
            # What is no token at all is refused as a request.
            status = 401 if error.status in (400, 422) else 503
            reason = IdentityError(status, f"the token cannot be judged: {error}")
            return _Judged(time.monotonic(), None, reason)
        except IdentityError as error:
            return _Judged(time.monotonic(), None, error)
        return _Judged(time.monotonic(), caller, None)


def _is_fresh(judged: _Judged, max_age_seconds: float) -> bool:
    limit = max_age_seconds if judged.caller is not None else REFUSED_SECONDS
    if judged.caller is not None and judged.caller.expires_at is not None:
        limit = min(limit, judged.caller.expires_at - time.time())
    return time.monotonic() - judged.at < limit


def _read(status: dict[str, Any], expires_at: float | None) -> Caller:
    if status.get("authenticated") is not True:
        raise IdentityError(401, "the API server does not know the token")
    # One that knows nothing of audiences answers for its own.
    if TOKEN_AUDIENCE not in (status.get("audiences") or ()):
        raise IdentityError(401, f"the token is not for the audience {TOKEN_AUDIENCE}")
    user = status.get("user") or {}
    extra = user.get("extra") or {}
    account = str(user.get("username", ""))
    namespace, _, name = account.removeprefix(_ACCOUNT).partition(":")
    pod, uid = _first(extra, _POD_NAME), _first(extra, _POD_UID)
    if not account.startswith(_ACCOUNT) or not pod or not uid:
        raise IdentityError(403, "the token belongs to no pod")
    return Caller(namespace, pod, uid, f"{namespace}/{name}", expires_at)


def _first(extra: dict[str, Any], key: str) -> str:
    values = extra.get(key)
    return str(values[0]) if isinstance(values, list) and values else ""


def _expiry(token: str) -> float | None:
    """When the token says it ends; it is the API server that vouched for it."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return None
