"""Third parties' tokens, judged by the API server for node proxies and gateways.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from injector.control.identity import AccessAttributes, TokenVerdict
from injector.errors import IdentityError, KubeError
from injector.kube.api.client import JsonObject, KubeClient

CACHE_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""How long a refusal counts: a grant that was just made is seen soon."""
MAX_REVIEWS = 8
"""At once; others wait for their turn."""
MAX_WAITING = 256
"""Questions; beyond, the API server is too slow for more."""
MAX_REMEMBERED = 10_000

_Key = tuple[bytes, AccessAttributes | None]
_UNKNOWN = TokenVerdict("", (), is_allowed=False)


class _Kept(NamedTuple):
    until: float
    review: TokenVerdict


class AccessReviewer:
    """Asks the API server who holds a token and what that user may do; remembers for a minute."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._asked: dict[_Key, asyncio.Task[TokenVerdict]] = {}
        self._threads = ThreadPoolExecutor(MAX_REVIEWS, "access-review")

    async def review(self, token: str, access: AccessAttributes | None) -> TokenVerdict:
        """Return whose token it is, and whether that user may do something.

        Raises:
            IdentityError: 503, the API server did not say: nobody is let in on a guess.
        """
        key = hashlib.sha256(token.encode(errors="replace")).digest(), access
        kept = self._kept.get(key)
        if kept is not None and (left := kept.until - time.monotonic()) > 0:
            return kept.review._replace(valid_seconds=left)
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= MAX_WAITING:
                raise IdentityError(503, f"{MAX_WAITING} tokens are waiting to be judged")
            task = self._asked[key] = asyncio.create_task(self._ask(key, token))
            # Who asked may be gone: then nobody else takes the error.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded, so that who goes away does not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, key: _Key, token: str) -> TokenVerdict:
        started = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            review = await loop.run_in_executor(self._threads, self._judge, token, key[1])
        finally:
            del self._asked[key]
        seconds = CACHE_SECONDS if review.is_allowed else REFUSED_SECONDS
        self._kept[key] = _Kept(started + seconds, review)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_REMEMBERED:
            self._kept.popitem(last=False)
        return review._replace(valid_seconds=max(0.0, started + seconds - time.monotonic()))

    def _judge(self, token: str, access: AccessAttributes | None) -> TokenVerdict:
        try:
            user = self._user(token)
            if user is None:
                return _UNKNOWN
            is_allowed = access is None or self._may(user, access)
        except KubeError as error:
            raise IdentityError(503, f"the token cannot be judged: {error}") from error
        return TokenVerdict(
            str(user["username"]), tuple(user.get("groups") or ()), is_allowed=is_allowed
        )

    def _user(self, token: str) -> JsonObject | None:
        try:
            status = self._create("authentication.k8s.io", "TokenReview", {"token": token})
        except KubeError as error:
            if error.status in (400, 422):  # what is no token at all is refused as a request
                return None
            raise
        user = status.get("user") or {}
        return user if status.get("authenticated") is True and user.get("username") else None

    def _may(self, user: JsonObject, access: AccessAttributes) -> bool:
        spec: JsonObject = {"user": user["username"], **{
            name: user[name] for name in ("groups", "uid", "extra") if user.get(name)
        }}  # fmt: skip
        if access.path:
            spec["nonResourceAttributes"] = {"verb": access.verb, "path": access.path}
        else:
            given = access._asdict()
            spec["resourceAttributes"] = {name: given[name] for name in given if given[name]}
        status = self._create("authorization.k8s.io", "SubjectAccessReview", spec)
        return status.get("allowed") is True and status.get("denied") is not True

    def _create(self, group: str, kind: str, spec: JsonObject) -> dict[str, Any]:
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        path = f"/apis/{group}/v1/{kind.lower()}s"
        status = self._client.request("POST", path, body=body).get("status")
        return status if isinstance(status, dict) else {}
