"""The real webhook app, called over ASGI as the API server would."""

import asyncio
import base64
import copy
import json
from typing import Any

import httpx
import jsonpatch

from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from injector.web.admission import AdmissionContext, build_admission_app
from injector.web.metrics import InjectorMetrics

CA_BUNDLE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

Json = dict[str, Any]


def apply(obj: Json, operations: Any) -> Json:
    """Apply a patch as the API server does; `jsonpatch` gets a copy, which it may change."""
    result: Json = jsonpatch.apply_patch(obj, copy.deepcopy(operations))
    return result


def render_review(obj: object, namespace: str = "shop", **request: object) -> Json:
    """Render the admission review of an object's creation."""
    kind = obj.get("kind", "Pod") if isinstance(obj, dict) else "Pod"
    asked = {
        "uid": "uid-1",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "operation": "CREATE",
        "namespace": namespace,
        "object": obj,
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def decode_patch(response: Json) -> list[Json]:
    """Return a response's operations; none if it has no patch."""
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    operations: list[Json] = json.loads(base64.b64decode(response["patch"]))
    return operations


class Webhook:
    """One app with its own cluster state and metrics."""

    def __init__(
        self, cluster: ClusterState | None = None, platform: Platform | None = None
    ) -> None:
        self.context = AdmissionContext(
            ClusterState() if cluster is None else cluster,
            platform or Platform(),
            InjectorMetrics(),
        )
        self.context.ca_bundle = CA_BUNDLE
        self._transport = httpx.ASGITransport(
            build_admission_app(self.context), raise_app_exceptions=False
        )

    def send(self, method: str, path: str, body: bytes = b"") -> httpx.Response:
        """Send one request over ASGI."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url="https://webhook", trust_env=False
            ) as client:
                return await client.request(method, path, content=body)

        return asyncio.run(ask())

    def answer(self, review: object, path: str = "/mutate") -> Json:
        """Send a review and return the `response` of the answer."""
        answered = self.send("POST", path, json.dumps(review).encode())
        assert answered.status_code == 200, answered.text
        document = answered.json()
        assert (document["apiVersion"], document["kind"]) == (
            "admission.k8s.io/v1",
            "AdmissionReview",
        )
        response: Json = document["response"]
        return response

    def count(self, name: str, **labels: str) -> float:
        """Return a metric's value, or 0 if it does not exist."""
        return self.context.metrics.registry.get_sample_value(name, labels) or 0.0

    def labels_of(self, name: str) -> list[dict[str, str]]:
        """Return the label sets of a counter whose value is not 0."""
        return [
            dict(sample.labels)
            for family in self.context.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and sample.value
        ]
