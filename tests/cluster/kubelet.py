"""Plays the kubelet for one pod: runs the injected proxy, and reports the pod as running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from injector.kube.api.client import MERGE
from tests.cluster.fixtures import Namespace


@contextmanager
def played_pod(
    shop: Namespace, pod: dict[str, Any], address: str, control_port: int, folder: Path
) -> Iterator[None]:
    """Run a pod's proxy as its container specifies, on a loopback address.

    Args:
        shop: the pod's namespace.
        pod: the pod as the API server has it.
        address: 127.x.y.z.
        control_port: the control service's port here; no Service routes to it.
        folder: folder for its token and its log.
    """
    name = pod["metadata"]["name"]
    proxy = pod["spec"]["initContainers"][0]
    token = folder / f"{name}.token"
    token.write_text(shop.token("default", pod=name))
    fields = {"metadata.name": name, "metadata.namespace": shop.name, "status.podIP": address}
    variables = {
        item["name"]: fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
        if "valueFrom" in item
        else item.get("value", "")
        for item in proxy["env"]
    }
    server = variables["LIVERY_CONTROL_URL"].rpartition(":")[0]
    variables["LIVERY_CONTROL_URL"] = f"{server}:{control_port}"
    variables["LIVERY_CONTROL_ADDRESS"] = "127.0.0.1"
    variables["LIVERY_TOKEN_FILE"] = str(token)
    command = [sys.executable, "-m", "sidecar", *proxy["args"]]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stderr=log)
    try:
        _say_it_runs(shop, name, address)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _say_it_runs(shop: Namespace, name: str, address: str) -> None:
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    path = f"{shop.path}/pods/{name}/status"
    shop.client.request("PATCH", path, body={"status": status}, content_type=MERGE)
