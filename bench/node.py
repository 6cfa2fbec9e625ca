"""The node role compared with nginx, which passes a kubelet's exposition through unlabelled.

Both get it over TLS, in two variants: generated during the scrape by client_golang and Go's TLS,
as by a kubelet; and copied from a file by a second nginx, which shows the cost of labelling alone.
"""

import contextlib
import http.client
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from webhook_certs.authority import create_authority, issue_leaf

from bench.kubelet_text import cadvisor_text, namespace_of
from bench.rig import process, wait_until
from bench.table import Row, percentile
from tests.real_parts.go import build
from tests.real_parts.ports import free_port

PODS = 110
LARGE = 500
SCRAPES = 25
_PATH = "/metrics/cadvisor"
_NGINX = """\
daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log error; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; default_type text/plain; keepalive_requests 100000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {server}
}}
"""
_KUBELET = """server {{ listen 127.0.0.1:{port} ssl; root {folder}/www;
  ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.pem; }}"""
_PASSING = """upstream kubelet {{ server 127.0.0.1:{kubelet}; keepalive 4; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass https://kubelet;
    proxy_http_version 1.1; proxy_set_header Connection "";
    {gzip} }} }}"""
_GZIP = "gzip on; gzip_comp_level 1; gzip_types text/plain; gzip_proxied any;"


class _Times(NamedTuple):
    """Milliseconds until the first byte and until the last."""

    first: list[float]
    whole: list[float]


def measure() -> list[Row]:
    return [*_measure_written(), *_measure_copied()]


def _measure_written() -> list[Row]:
    with tempfile.TemporaryDirectory() as text, _stage(Path(text), writes=True) as stage:
        plain = _compare(stage, "identity", PODS)
        zipped = _compare(stage, "gzip", PODS)
    kind = "a node's text, 110 pods, labelled while a kubelet writes it"
    return [*_rows(plain, f"{kind}, identity"), *_rows(zipped, f"{kind}, gzip")]


def _measure_copied() -> list[Row]:
    with tempfile.TemporaryDirectory() as text, _stage(Path(text)) as stage:
        idle = _resident(stage.pid, "VmRSS")
        plain = _compare(stage, "identity", PODS)
        zipped = _compare(stage, "gzip", PODS)
        peak = _resident(stage.pid, "VmHWM")
        large = _times(stage, LARGE, 8)
        line = percentile(plain[0].whole, 0.5) / cadvisor_text(PODS).count(b"\n")
        large_line = percentile(large.whole, 0.5) / cadvisor_text(LARGE).count(b"\n")
    kind = "a node's text, 110 pods, labelled while a file is copied"
    return [
        *_rows(plain, f"{kind}, identity"),
        *_rows(zipped, f"{kind}, gzip"),
        Row("node proxy, first byte later than nginx's, p50",
            percentile(plain[0].first, 0.5) - percentile(plain[1].first, 0.5), "ms", 5,
            f"{percentile(plain[1].first, 0.5):.1f} ms through nginx"),
        Row("node proxy, idle", idle, "MB RSS", 30, "–"),
        Row("node proxy, 110 pods, peak", peak, "MB RSS", 64, "identity and gzip"),
        Row("time per line, 500 pods relative to 110", large_line / line, "times", 1.2,
            f"{percentile(large.whole, 0.5):.0f} ms"),
    ]  # fmt: skip


def _rows(pair: tuple[_Times, _Times], what: str) -> list[Row]:
    ours, theirs = (percentile(times.whole, 0.5) for times in pair)
    note = f"{ours:.1f} ms; {theirs:.1f} ms for nginx passing the same through"
    return [Row(what, ours / theirs, "times", 1.1, note)]


class _Stage(NamedTuple):
    folder: Path
    node: int
    nginx: dict[str, int]
    """The nginx port that passes the text through, by encoding."""
    pid: int
    writes: bool
    """Whether the kubelet generates the same text each time, instead of copying a file."""


@contextlib.contextmanager
def _stage(folder: Path, *, writes: bool = False) -> Iterator[_Stage]:
    folder.chmod(0o755)  # nginx workers run as nobody
    (folder / "www" / "metrics").mkdir(parents=True)
    now = datetime.now(UTC)
    authority = create_authority("kubelet", now)
    leaf = issue_leaf(authority, ["127.0.0.1"], now)
    (folder / "leaf.pem").write_text(leaf.chain_pem + leaf.key_pem)
    (folder / "ca.pem").write_text(authority.certificate_pem)
    teams = (f"    tenant-{n}: {{team: team-{n}, tier: gold}}\n" for n in range(20))
    (folder / "policy.yaml").write_text("namespaces:\n" + "".join(teams))
    assert namespace_of(0) == "tenant-0"
    kubelet, node, admin = free_port(), free_port(), free_port()
    passing = {"identity": free_port(), "gzip": free_port()}
    servers = {
        "kubelet": _KUBELET.format(port=kubelet, folder=folder),
        "identity": _PASSING.format(port=passing["identity"], kubelet=kubelet, gzip=""),
        "gzip": _PASSING.format(port=passing["gzip"], kubelet=kubelet, gzip=_GZIP),
    }
    arguments = {
        "role": "node", "auth": "none", "kubelet-url": f"https://127.0.0.1:{kubelet}",
        "kubelet-token-file": "", "kubelet-ca-file": folder / "ca.pem",
        "policy": folder / "policy.yaml", "port": node, "admin-port": admin, "log-level": "error",
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in arguments.items()]
    with contextlib.ExitStack() as stack:
        if writes:
            del servers["kubelet"]
            stack.enter_context(_kubelet(folder, kubelet))
        for name, server in servers.items():
            stack.enter_context(_nginx(folder, name, server))
        started = stack.enter_context(process("-m", "sidecar", *given))
        stage = _Stage(folder, node, passing, started.pid, writes)
        if not writes:
            _write(stage, 2, 0)
        wait_until(lambda: _is_up(node))
        yield stage


@contextlib.contextmanager
def _kubelet(folder: Path, port: int) -> Iterator[None]:
    program = build(Path(__file__).parent / "kubelet_module", ".", "kubelet")
    (folder / "text").write_bytes(cadvisor_text(PODS))
    leaf = str(folder / "leaf.pem")
    command = [str(program), f"127.0.0.1:{port}", leaf, leaf, str(folder / "text")]
    started = subprocess.Popen(command)
    try:
        yield
    finally:
        started.kill()
        started.wait()


@contextlib.contextmanager
def _nginx(folder: Path, name: str, server: str) -> Iterator[None]:
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    config = folder / f"{name}.conf"
    config.write_text(_NGINX.format(folder=folder, name=name, server=server))
    started = subprocess.Popen([program, "-c", str(config), "-p", str(folder)])
    try:
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(10)


def _compare(stage: _Stage, encoding: str, pods: int) -> tuple[_Times, _Times]:
    """Scrape both alternately, so that noise affects both equally."""
    ours, theirs = _Times([], []), _Times([], [])
    for number in range(SCRAPES + 3):
        if not stage.writes:
            _write(stage, pods, number)
        for port, times in ((stage.node, ours), (stage.nginx[encoding], theirs)):
            first, whole = _ask(port, encoding)
            if number >= 3:  # new series first go through the rules once
                times.first.append(first)
                times.whole.append(whole)
    return ours, theirs


def _times(stage: _Stage, pods: int, scrapes: int) -> _Times:
    times = _Times([], [])
    for number in range(scrapes + 2):
        _write(stage, pods, number)
        first, whole = _ask(stage.node, "identity")
        if number >= 2:
            times.first.append(first)
            times.whole.append(whole)
    return times


def _write(stage: _Stage, pods: int, scrape: int) -> None:
    path = stage.folder / "www" / "metrics" / "cadvisor"
    fresh = path.with_suffix(".new")
    fresh.write_bytes(cadvisor_text(pods, scrape))
    fresh.replace(path)


_open: dict[int, http.client.HTTPConnection] = {}


def _ask(port: int, encoding: str) -> tuple[float, float]:
    """Scrape over a persistent connection; return the milliseconds to the first and last byte."""
    connection = _open.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=60))
    started = time.perf_counter()
    connection.request("GET", _PATH, headers={"Accept-Encoding": encoding})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"answered {answer.status}: {answer.read(200)!r}")
    answer.read(1)
    first = time.perf_counter()
    while answer.read(1 << 18):
        pass
    ended = time.perf_counter()
    return (first - started) * 1000, (ended - started) * 1000


def _is_up(port: int) -> bool:
    with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException):
        _open.pop(port, None)
        return bool(_ask(port, "identity"))
    return False


def _resident(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(item for item in lines if item.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6
