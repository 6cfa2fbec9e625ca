"""Identity by TokenReview: the API server says which pod holds a token.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import asyncio
import base64
import hashlib
import json
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from injector.control.identity import Caller
from injector.errors import IdentityError, KubeError
from injector.kube.api.client import KubeClient
from injector.model.cluster.names import TOKEN_AUDIENCE

CACHE_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""How long a refusal counts: who asks in a loop is not put through."""
RECHECK_SECONDS = 300.0
"""How often an open stream's token is judged again: 10,000 streams are 33 reviews a second."""
MAX_REVIEWS = 16
"""At once: a storm of reconnects is put through to the API server at its pace."""
MAX_REMEMBERED = 50_000
MAX_REFUSED = 1_000
MAX_GONE = 10_000
"""Pods whose deletion is remembered; the API server knows their tokens for ten seconds more."""
MAX_TOKEN_CHARACTERS = 16 << 10
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_ACCOUNT = "system:serviceaccount:"


class _Judged(NamedTuple):
    at: float
    caller: Caller | None
    status: int = 0
    """Why there is no caller, as an HTTP status and a clause."""
    reason: str = ""


class TokenReviewAuthenticator:
    """Asks the API server, and remembers what it said by the token's hash."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._callers: OrderedDict[bytes, _Judged] = OrderedDict()
        self._refused: OrderedDict[bytes, _Judged] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[_Judged]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Uids of pods that were deleted."""
        # Its own threads: an API server that hangs holds up nothing but reviews.
        self._threads = ThreadPoolExecutor(MAX_REVIEWS, "token-review")

    async def authenticate(self, token: str) -> Caller:
        """Return the token's pod.

        Raises:
            IdentityError: 401 not valid for us, 403 of no pod, 503 the API server did not say.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise IdentityError(401, "the token is too long")
        key = _key(token)
        verdict = self._find(key, CACHE_SECONDS)
        if verdict is None:
            verdict = await asyncio.shield(self._ask(key, token))
        if verdict.caller is not None and verdict.caller.uid in self._gone:
            raise IdentityError(401, "the token's pod was deleted")
        if verdict.caller is None:
            # Anew each time: one that is kept would keep the frames of all who met it.
            raise IdentityError(verdict.status, verdict.reason)
        return verdict.caller

    async def still_counts(self, token: str, caller: Caller) -> bool:
        """Tell whether an open stream's token is still the caller's, as far as is known.

        Asked again in the background: a stream waits for no API server.
        """
        if caller.expires_at is not None and time.time() >= caller.expires_at:
            return False
        if caller.uid in self._gone:
            return False
        key = _key(token)
        refused = self._refused.get(key)
        if refused is not None and refused.status != 503:
            return False
        verdict = self._callers.get(key)
        if verdict is None or time.monotonic() - verdict.at >= RECHECK_SECONDS:
            self._ask(key, token)
        return verdict is None or verdict.caller == caller

    def forget(self, uid: str) -> None:
        """Let a deleted pod in no more; its stream says nothing more, and ends with its next ping.

        May be called in any thread.
        """
        self._gone[uid] = None
        while len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)

    def _find(self, key: bytes, max_age_seconds: float) -> _Judged | None:
        now = time.monotonic()
        refused = self._refused.get(key)
        if refused is not None and now - refused.at < REFUSED_SECONDS:
            return refused
        verdict = self._callers.get(key)
        if verdict is None or verdict.caller is None or now - verdict.at >= max_age_seconds:
            return None
        end = verdict.caller.expires_at
        return verdict if end is None or time.time() < end else None

    def _ask(self, key: bytes, token: str) -> "asyncio.Task[_Judged]":
        # A task of its own, so that who goes away does not take the answer from the others.
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._judge(key, token))
        return task

    async def _judge(self, key: bytes, token: str) -> _Judged:
        try:
            loop = asyncio.get_running_loop()
            verdict = await loop.run_in_executor(self._threads, self._review, token)
        finally:
            del self._asked[key]
        if verdict.caller is not None:
            _remember(self._callers, key, verdict, MAX_REMEMBERED)
            self._refused.pop(key, None)
        else:
            if verdict.status != 503:
                self._callers.pop(key, None)
            _remember(self._refused, key, verdict, MAX_REFUSED)
        return verdict

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
            return _Judged(time.monotonic(), None, status, f"the token cannot be judged: {error}")
        except IdentityError as error:
            return _Judged(time.monotonic(), None, error.status, str(error))
        return _Judged(time.monotonic(), caller)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _remember(
    kept: "OrderedDict[bytes, _Judged]", key: bytes, verdict: _Judged, limit: int
) -> None:
    kept[key] = verdict
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)


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
