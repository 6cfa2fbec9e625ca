"""The demo's stage: applications, the injector, the webhook call and the proxies, all real."""

import asyncio
import base64
import copy
import json
import os
import secrets
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jsonpatch

from injector.app.service import Service, ServiceSettings, with_control_port
from injector.commands.demo.kubelet import start_container
from injector.errors import DemoError
from injector.files.backend import folder_backend
from injector.files.manifests import read_manifests
from injector.model.admission.reviews import API_VERSION
from injector.model.cluster.names import PORT, PROXY_CONTAINER, TOKEN_AUDIENCE
from injector.platform.settings import Platform, RemoteWriteSettings
from sidecar.http.connection import Connection, render_request
from sidecar.process.ports import LISTEN_ADDRESS

WEBHOOK_NAME = "livery-injector.livery-system.svc"
STATUS_PORT = 8080
GATEWAY_ACCOUNT = "livery-system/default"
"""The gateway's service account, as the injector derives it from the token folder."""
START_SECONDS = 15.0
_NAMES = (WEBHOOK_NAME, "localhost", "127.0.0.1")


class Actor(NamedTuple):
    """One pod of the demo, running."""

    namespace: str
    name: str
    app_port: int
    proxy_port: int
    operations: Sequence[Any]
    """The JSON patch that the webhook returned."""
    review_seconds: float
    """Duration of the webhook call, TLS included."""
    annotations: Mapping[str, str]
    """Annotations of the admitted pod, by which Prometheus discovers it."""


class Stage:
    """The processes of the demo; they stop when the given stack is closed."""

    def __init__(self, folder: Path, manifests: Path, stack: AsyncExitStack) -> None:
        self.manifests = folder / "world"
        self.folder = folder
        self._stack = stack
        self._proxies: list[asyncio.subprocess.Process] = []
        self._tokens: dict[str, str] = {}
        self.service: Service
        shutil.copytree(manifests, self.manifests)

    @property
    def namespaces_file(self) -> Path:
        """The file with the namespaces' labels, for the user to edit."""
        return self.manifests / "namespaces.yaml"

    def start_injector(self) -> None:
        """Start the webhook, the control service and the status page."""
        settings = ServiceSettings(
            names=_NAMES,
            host="127.0.0.1",
            admission_port=0,
            control_port=0,
            metrics_port=0,
            status_port=_free_port(STATUS_PORT),
        )
        service = self.service = Service(
            settings,
            Platform(
                gateways=(GATEWAY_ACCOUNT,),
                # Receivers of the demo are on this machine.
                remote_write=RemoteWriteSettings(allowed_ranges=("127.0.0.0/8",)),
            ),
            folder_backend(self.manifests, self.folder / "tokens", self.folder / "certs"),
        )
        service.open()
        url = f"https://{WEBHOOK_NAME}:{service.ports[1]}"
        service.use_platform(with_control_port(service.admission.platform, url, "127.0.0.1"))
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))

        async def end() -> None:
            stop.set()
            await task

        self._stack.push_async_callback(end)

    def control_environment(self, token: Path) -> dict[str, str]:
        """Return the environment with which a proxy finds the control service."""
        return {
            **os.environ,
            "LIVERY_CONTROL_URL": f"https://{WEBHOOK_NAME}:{self.service.ports[1]}",
            "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
            "LIVERY_CONTROL_CA": self.service.admission.ca_bundle,
            "LIVERY_TOKEN_FILE": str(token),
            LISTEN_ADDRESS: "127.0.0.1",
        }

    async def end_proxies(self) -> None:
        """Stop the proxies while their remote-write receivers are still running."""
        await asyncio.gather(*map(end_process, self._proxies))

    async def start_pod(self, file: str, *, has_app: bool = True) -> Actor:
        """Start a pod's application, send the pod through the webhook, run its proxy.

        Args:
            file: the pod's manifest.
            has_app: whether its application runs; else nothing listens on its port.
        """
        app_port = await self._start_app() if has_app else free_port()
        pod = self._pod(file, app_port)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        operations, seconds = await self._review(pod, namespace, name)
        admitted: dict[str, Any] = jsonpatch.apply_patch(pod, operations)
        await self._start_proxy(admitted, namespace, name)
        annotations = admitted["metadata"]["annotations"]
        proxy_port = int(annotations["prometheus.io/port"])
        return Actor(namespace, name, app_port, proxy_port, operations, seconds, annotations)

    async def _start_app(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "injector.commands.demo.app",
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only the demo, which stops its processes
        )
        self._stack.push_async_callback(end_process, process)
        if process.stdout is None:
            raise DemoError("the demo's application has no output")
        return int(await asyncio.wait_for(process.stdout.readline(), START_SECONDS))

    def _pod(self, file: str, app_port: int) -> dict[str, Any]:
        text = (self.manifests / file).read_text()
        pod = copy.deepcopy(read_manifests(text, file)[0].obj)
        annotations = pod["metadata"]["annotations"]
        annotations["prometheus.io/port"] = str(app_port)
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = app_port
        if _free_port(16090) != 16090 or _free_port(16091) != 16091:
            annotations[PORT] = str(_free_pair())  # here all pods share one address
        return pod

    async def _review(self, pod: dict[str, Any], namespace: str, name: str) -> tuple[Any, float]:
        review = {
            "apiVersion": API_VERSION,
            "kind": "AdmissionReview",
            "request": {
                "uid": secrets.token_hex(8),
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": namespace,
                "name": name,
                "object": pod,
            },
        }
        tls = ssl.create_default_context(cadata=self.service.admission.ca_bundle)
        started = time.perf_counter()
        connection = await Connection.open(
            "127.0.0.1", self.service.ports[0], tls=tls, server_name=WEBHOOK_NAME
        )
        answer = await _exchange(connection, "POST", "/mutate", json.dumps(review).encode())
        seconds = time.perf_counter() - started
        patch = json.loads(answer)["response"]["patch"]
        return json.loads(base64.b64decode(patch)), seconds

    async def _start_proxy(self, pod: dict[str, Any], namespace: str, name: str) -> None:
        token = secrets.token_urlsafe(32)
        tokens = self.folder / "tokens" / namespace
        tokens.mkdir(parents=True, mode=0o700, exist_ok=True)
        (tokens / name).write_text(token)
        container = next(
            item for item in pod["spec"]["initContainers"] if item["name"] == PROXY_CONTAINER
        )
        root = self.folder / "roots" / name
        process = await start_container(pod, container, root, {TOKEN_AUDIENCE: token})
        self._proxies.append(process)
        self._stack.push_async_callback(end_process, process)
        deadline = time.monotonic() + START_SECONDS
        while (namespace, name) not in self.service.hub.published_versions():
            if time.monotonic() > deadline or process.returncode is not None:
                raise DemoError(f"the proxy of {name} did not start; is its port free?")
            await asyncio.sleep(0.02)


async def read_metrics(port: int) -> str:
    """Scrape a port of this machine."""
    connection = await Connection.open("127.0.0.1", port)
    return (await _exchange(connection, "GET", "/metrics")).decode()


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Stop a process that the demo started, and wait until it has exited."""
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
    if process.returncode is None:
        process.kill()
        await process.wait()


def free_port() -> int:
    """Return a port on which nothing listens."""
    return _free_port(0)


def _free_port(wanted: int) -> int:
    """Return the port, or another one if something already listens on it."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free_pair() -> int:
    while True:
        port = _free_port(0)
        if port < 65535 and _free_port(port + 1) == port + 1:
            return port


async def _exchange(connection: Connection, method: str, path: str, body: bytes = b"") -> bytes:
    headers = {"Host": "localhost", "Connection": "close", "Content-Type": "application/json"}
    await connection.send(render_request(method, path, headers, body))
    parts = []
    while part := await connection.read():
        parts.append(part)
    connection.close()
    return b"".join(parts)
