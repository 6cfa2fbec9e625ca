"""`livery demo`: inject, label and re-expose on one machine, without a cluster."""

import argparse
import asyncio
import base64
import copy
import json
import secrets
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import jsonpatch

from injector.commands.colours import BOLD, CYAN, DIM, GREEN, paint
from injector.commands.demo_kubelet import start_container
from injector.errors import SettingsError
from injector.files.manifests import read_manifests
from injector.model.names import PROXY_CONTAINER, TOKEN_AUDIENCE
from injector.model.reviews import API_VERSION
from injector.model.settings import Platform
from injector.service import Service, ServiceSettings, with_control_port
from sidecar.client import Connection, render_request
from sidecar.errors import LiveryError
from sidecar.logs import configure_logs

EXAMPLES = """examples:
  livery demo --once     run through it and exit
  livery demo            stay until Ctrl-C; edit a namespace's labels and see the next scrape
"""
WEBHOOK_NAME = "livery-injector.livery-system.svc"
_START_SECONDS = 15.0
_NAMES = (WEBHOOK_NAME, "localhost", "127.0.0.1")


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo",
        help="see it work on this machine, without a cluster",
        description="Send a pod through the real webhook, run its proxy as the injected container "
        "says, scrape it, change a namespace's label, scrape it again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="run through it and exit")
    parser.add_argument(
        "--manifests",
        type=Path,
        default=Path("examples/demo"),
        metavar="DIR",
        help="the demo's world (%(default)s); it is copied, not changed",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the demo."""
    if not (given.manifests / "shop.yaml").is_file():
        raise SettingsError(
            f"{given.manifests} is not the demo's folder; run this in a clone, or use --manifests"
        )
    configure_logs("error")
    folder = Path(tempfile.mkdtemp(prefix="livery-demo-"))
    try:
        return asyncio.run(_Demo(folder, given.manifests).run(once=given.once))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    def __init__(self, folder: Path, manifests: Path) -> None:
        self._folder = folder
        self._world = folder / "world"
        shutil.copytree(manifests, self._world)
        self._namespaces = self._world / "namespaces.yaml"
        self._stop = asyncio.Event()

    async def run(self, *, once: bool) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        async with AsyncExitStack() as stack:
            app_port = await self._start_app(stack)
            service = await self._start_injector(stack)
            pod = await self._admit(service, self._pod(app_port))
            proxy_port = await self._start_proxy(stack, service, pod)
            await self._show(app_port, proxy_port)
            if once:
                await self._relabel_and_show(proxy_port)
                print(paint("\nDone. Nothing is left behind.", GREEN))
            else:
                await self._stay(proxy_port)
        return 0

    async def _start_app(self, stack: AsyncExitStack) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "injector.commands.demo_app",
            "--port",
            str(_free_port(8080)),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the demo's; it ends what it started
        )
        stack.push_async_callback(_end, process)
        if process.stdout is None:
            raise SettingsError("the demo's application has no output")
        port = int(await asyncio.wait_for(process.stdout.readline(), _START_SECONDS))
        _step("1", f"an application serves metrics on 127.0.0.1:{port}; it knows nothing of Livery")
        return port

    async def _start_injector(self, stack: AsyncExitStack) -> Service:
        tokens = self._folder / "tokens" / "shop"
        tokens.mkdir(parents=True, mode=0o700)
        self._token = secrets.token_urlsafe(32)
        (tokens / "web-0").write_text(self._token)
        settings = ServiceSettings(
            manifests=self._world,
            tokens=self._folder / "tokens",
            certificates=self._folder / "certs",
            names=_NAMES,
            host="127.0.0.1",
            admission_port=0,
            control_port=0,
            metrics_port=0,
        )
        service = Service(settings, Platform())
        service.open()
        admission, control, _ = service.ports
        url = f"https://{WEBHOOK_NAME}:{control}"
        service.use_platform(with_control_port(service.admission.platform, url, "127.0.0.1"))
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))

        async def end() -> None:
            stop.set()
            await task

        stack.push_async_callback(end)
        _step("2", f"the injector: webhook on port {admission}, control service on {control}, TLS")
        return service

    def _pod(self, app_port: int) -> dict[str, Any]:
        text = (self._world / "shop.yaml").read_text()
        pod = copy.deepcopy(read_manifests(text, "shop.yaml")[0].obj)
        pod["metadata"]["annotations"]["prometheus.io/port"] = str(app_port)
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = app_port
        if _free_port(16090) != 16090 or _free_port(16091) != 16091:
            pod["metadata"]["annotations"]["livery.dev/port"] = str(_free_pair())
        return pod

    async def _admit(self, service: Service, pod: dict[str, Any]) -> dict[str, Any]:
        review = {
            "apiVersion": API_VERSION,
            "kind": "AdmissionReview",
            "request": {
                "uid": secrets.token_hex(8),
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": "shop",
                "name": "web-0",
                "object": pod,
            },
        }
        tls = ssl.create_default_context(cadata=service.admission.authorities)
        started = time.perf_counter()
        connection = await Connection.open(
            "127.0.0.1", service.ports[0], tls=tls, server_name=WEBHOOK_NAME
        )
        answer = await _exchange(connection, "POST", "/mutate", json.dumps(review).encode())
        took = (time.perf_counter() - started) * 1000
        response = json.loads(answer)["response"]
        operations = json.loads(base64.b64decode(response["patch"]))
        admitted: dict[str, Any] = jsonpatch.apply_patch(pod, operations)
        _step("3", f"pod shop/web-0 went through the webhook ({took:.0f} ms with TLS):")
        for operation in operations:
            print(f"      {operation['op']:8}{operation['path']}")
        return admitted

    async def _start_proxy(
        self, stack: AsyncExitStack, service: Service, pod: dict[str, Any]
    ) -> int:
        container = next(
            item for item in pod["spec"]["initContainers"] if item["name"] == PROXY_CONTAINER
        )
        root = self._folder / "root"
        process = await start_container(pod, container, root, {TOKEN_AUDIENCE: self._token})
        stack.push_async_callback(_end, process)
        port = int(pod["metadata"]["annotations"]["prometheus.io/port"])
        deadline = time.monotonic() + _START_SECONDS
        while service.hub.count == 0:
            if time.monotonic() > deadline or process.returncode is not None:
                raise SettingsError("the proxy did not start; is its port free?")
            await asyncio.sleep(0.02)
        _step("4", f"its proxy runs as the injected container says, on port {port}")
        return port

    async def _show(self, app_port: int, proxy_port: int) -> None:
        before, after = await _metrics(app_port), await _metrics(proxy_port)
        _step("5", "what the application says, and what Prometheus gets:")
        for line in [line for line in before.splitlines() if line.startswith("http_requests")]:
            name = line.rsplit(" ", 1)[0]
            worn = next(
                item for item in after.splitlines() if item.startswith(name.removesuffix("}"))
            )
            print(f"      {paint(line, DIM)}\n   -> {_highlight(worn)}")

    async def _relabel_and_show(self, proxy_port: int) -> None:
        text = self._namespaces.read_text()
        self._namespaces.write_text(text.replace("team: frontend", "team: backend"))
        started = time.perf_counter()
        _step("6", "kubectl label namespace shop team=backend --overwrite (here: a file edit)")
        while 'team="backend"' not in (metrics := await _metrics(proxy_port)):
            if time.perf_counter() - started > _START_SECONDS:
                raise SettingsError("the label did not arrive")
            await asyncio.sleep(0.01)
        took = (time.perf_counter() - started) * 1000
        _step("7", f"{took:.0f} ms later a scrape says:")
        for line in [item for item in metrics.splitlines() if item.startswith("http_requests")]:
            print(f"   -> {_highlight(line)}")

    async def _stay(self, proxy_port: int) -> None:
        shown = _series(await _metrics(proxy_port))
        print(
            f"\n{paint('Now you:', BOLD)} edit a label of namespace shop in\n"
            f"    {self._namespaces}\n"
            f"and look again:\n    curl -s localhost:{proxy_port}/metrics\n"
            "Changes show here too. Ctrl-C ends the demo."
        )
        while not self._stop.is_set():
            with suppress(LiveryError):
                series = _series(await _metrics(proxy_port))
                if shown != series:
                    print(f"   -> {_highlight(series)}")
                shown = series
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.5)
        print()


def _step(number: str, text: str) -> None:
    print(f"{paint(f'[{number}]', BOLD)} {text}", flush=True)


def _series(metrics: str) -> str:
    """Return the first request counter's name and labels; empty where there is none."""
    lines = metrics.splitlines()
    line = next((item for item in lines if item.startswith("http_requests_total")), "")
    return line.rsplit(" ", 1)[0]


def _highlight(line: str) -> str:
    for name in ("team=", "cost_center="):
        start = line.find(name)
        if start >= 0:
            end = line.find('"', line.find('"', start) + 1) + 1
            line = line[:start] + paint(line[start:end], CYAN) + line[end:]
    return line


def _free_port(wanted: int) -> int:
    """Return the port, or another where something listens on it."""
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


async def _metrics(port: int) -> str:
    connection = await Connection.open("127.0.0.1", port)
    return (await _exchange(connection, "GET", "/metrics")).decode()


async def _exchange(connection: Connection, method: str, path: str, body: bytes = b"") -> bytes:
    headers = {"Host": "localhost", "Connection": "close", "Content-Type": "application/json"}
    await connection.send(render_request(method, path, headers, body))
    parts = []
    while part := await connection.read():
        parts.append(part)
    connection.close()
    return b"".join(parts)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
    if process.returncode is None:
        process.kill()
        await process.wait()
