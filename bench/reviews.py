"""AdmissionReviews as an API server sends them."""

import json
from typing import Any


def pod_review(variables: int) -> bytes:
    """Write the review of a Deployment's pod whose container has `variables` variables."""
    container: dict[str, Any] = {
        "name": "web",
        "image": "registry.example/web:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"VARIABLE_{n}", "value": "x" * 40} for n in range(variables)],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-6d4cf56db6-",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-6d4cf56db6", "controller": True}
            ],
        },
        "spec": {"containers": [container]},
    }
    request = {
        "uid": "1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()
