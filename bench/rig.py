"""Starts, stops, scrapes and measures the processes of the benchmarks."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from injector.app.service import Service, ServiceSettings
from injector.files.backend import folder_backend
from injector.platform.settings import Platform
from sidecar.http.connection import Connection, render_request
from tests.real_parts.ports import free_port

NAME = "livery-injector.livery-system.svc"
PROMETHEUS_HEADERS = {
    "Host": "localhost",
    "Accept": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Accept-Encoding": "gzip",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}
"""Request headers that Prometheus 3.5 and later send."""
_NGINX = """\
daemon off; pid {folder}/pid; worker_processes 1; user root;
events {{}}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fcgi; scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
  gzip on; gzip_comp_level 1; gzip_proxied any; gzip_types *;
  upstream application {{ server {url}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://application; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Accept-Encoding "";
    }}
  }}
}}
"""


class Usage(NamedTuple):
    """A process's memory and CPU so far."""

    resident_bytes: int
    cpu_seconds: float


@contextlib.contextmanager
def process(
    *arguments: str, env: dict[str, str] | None = None, stdin: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a Python process with these arguments for as long as the block lasts."""
    started = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait(60)
        if started.stdin is not None:
            started.stdin.close()
        if started.stdout is not None:
            started.stdout.close()


@contextlib.contextmanager
def application(series: int) -> Iterator[str]:
    """Run the application; yield its URL."""
    with process("-m", "bench.app", str(series)) as started:
        if started.stdout is None:
            raise RuntimeError("no output")
        yield f"http://127.0.0.1:{started.stdout.readline().strip()}/metrics"


@contextlib.contextmanager
def injector() -> Iterator[tuple[Service, Path]]:
    """Run an injector in its own thread, on a manifest folder with one namespace."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "tokens" / "shop").mkdir(parents=True)
        (folder / "tokens" / "shop" / "web-0").write_text("token")
        (folder / "world").mkdir()
        (folder / "world" / "namespace.yaml").write_text(
            "apiVersion: v1\nkind: Namespace\n"
            'metadata: {name: shop, labels: {team: frontend, cost-center: "4711"}}\n'
        )
        settings = ServiceSettings(
            names=(NAME,),
            host="127.0.0.1",
            admission_port=0,
            control_port=0,
            metrics_port=0,
        )
        service = Service(
            settings,
            Platform(),
            folder_backend(folder / "world", folder / "tokens", folder / "certs"),
        )
        service.open()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(service.run(stop),))
        thread.start()
        try:
            yield service, folder
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.close()


@contextlib.contextmanager
def proxy(url: str, service: Service, folder: Path) -> Iterator["Pod"]:
    """Run a proxy as injected, with labels from the policy stream."""
    port, admin = free_port(), free_port()
    env = {
        "LIVERY_CONTROL_URL": f"https://{NAME}:{service.ports[1]}",
        "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
        "LIVERY_CONTROL_CA": service.admission.ca_bundle,
        "LIVERY_TOKEN_FILE": str(folder / "tokens" / "shop" / "web-0"),
        "LIVERY_NAMESPACE_LABELS": "team=frontend",
        "LIVERY_POD_NAMESPACE": "shop",
    }
    arguments = ["-m", "sidecar", "--role", "pod", "--target", url]
    arguments += ["--port", str(port), "--admin-port", str(admin), "--log-level", "error"]
    with process(*arguments, env=env) as started:
        pod = Pod(port, admin, started.pid)
        wait_until(lambda: pod.is_ready())
        yield pod


@contextlib.contextmanager
def usual_proxy(url: str) -> Iterator[tuple[int, int]]:
    """Run a pass-through proxy on the usual stack; yield its port and process ID."""
    port = free_port()
    with process("-m", "bench.plain_proxy", str(port), url) as started:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/metrics"))
        yield port, started.pid


@contextlib.contextmanager
def nginx_proxy(url: str) -> Iterator[tuple[int, int] | None]:
    """Run nginx as a pass-through proxy; yield its port and worker's PID, None without nginx."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as text:
        port = free_port()
        config = Path(text) / "nginx.conf"
        config.write_text(_NGINX.format(folder=text, port=port, url=urlsplit(url).netloc))
        master = subprocess.Popen(
            [program, "-c", str(config), "-e", f"{text}/error.log"], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: _answers(f"http://127.0.0.1:{port}/metrics"))
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text()
            yield port, int(children.split()[0])
        finally:
            master.terminate()
            master.wait(20)


def _answers(url: str) -> bool:
    try:
        return bool(fetch(url))
    except OSError:
        return False


class Pod(NamedTuple):
    """A running proxy."""

    port: int
    admin_port: int
    pid: int

    def is_ready(self) -> bool:
        try:
            text = fetch(f"http://127.0.0.1:{self.admin_port}/metrics")
        except OSError:
            return False
        return "livery_proxy_control_connected 1" in text

    def usage(self) -> Usage:
        return usage(self.pid)


def usage(pid: int) -> Usage:
    """Read a process's figures from /proc."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("a process did not become ready")
        time.sleep(0.05)


def scrape(port: int, times: int, interval_seconds: float = 0.0) -> None:
    """Scrape as Prometheus does, over one connection."""
    asyncio.run(_scrape(port, times, interval_seconds))


async def _scrape(port: int, times: int, interval_seconds: float) -> None:
    connection = await Connection.open("127.0.0.1", port)
    request = render_request("GET", "/metrics", PROMETHEUS_HEADERS)
    for _ in range(times):
        if await connection.send(request) != 200:
            raise RuntimeError(f"answered {connection.status}")
        while await connection.read():
            pass
        await asyncio.sleep(interval_seconds)
    connection.close()
