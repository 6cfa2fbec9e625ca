"""`livery serve` in its own process, and client processes that hold policy streams to it."""

import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from webhook_certs.stores import FolderStore

from bench.rig import NAME, Usage, fetch, process, usage, wait_until
from tests.real_parts.ports import free_port


class Injector(NamedTuple):
    """A running injector."""

    pid: int
    admission_port: int
    control_port: int
    metrics_port: int
    status_port: int

    def usage(self) -> Usage:
        return usage(self.pid)

    def streams(self) -> int:
        text = fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")
        line = next(item for item in text.splitlines() if item.startswith("livery_policy_streams "))
        return int(float(line.split()[1]))


def prepare(folder: Path, cluster: str, *, tokens: int) -> Path:
    """Write the manifest and the tokens of pods `shop/web-0` and up; return the manifest's path."""
    (folder / "tokens" / "shop").mkdir(parents=True)
    for number in range(tokens):
        (folder / "tokens" / "shop" / f"web-{number}").write_text(f"token-{number}")
    (folder / "world").mkdir()
    manifest = folder / "world" / "namespace.yaml"
    manifest.write_text(cluster)
    return manifest


@contextlib.contextmanager
def served(folder: Path, *, has_page: bool = True) -> Iterator[Injector]:
    """Run an injector on a prepared folder."""
    ports = {name: free_port() for name in ("admission", "control", "metrics", "status")}
    arguments = {
        "manifests": folder / "world",
        "tokens": folder / "tokens",
        "certs": folder / "certs",
        "host": "127.0.0.1",
        "name": NAME,
        "log-level": "error",
        **{f"{name}-port": port for name, port in ports.items()},
    }
    given = [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
    if not has_page:
        given.append("--no-status-page")
    with process("-m", "injector", "serve", *given) as started:
        injector = Injector(started.pid, *ports.values())
        wait_until(lambda: _answers(injector.metrics_port))
        yield injector


def ca_bundle(folder: Path) -> Path:
    """Write the CAs that sign the injector's certificates to a file; return its path."""
    path = folder / "ca.pem"
    generations = FolderStore(folder / "certs").load().generations
    path.write_text("".join(item.authority.certificate_pem for item in generations))
    return path


def client_tls(folder: Path) -> ssl.SSLContext:
    """Return a client's TLS settings that trust the injector."""
    return ssl.create_default_context(cafile=ca_bundle(folder))


@contextlib.contextmanager
def held_streams(
    folder: Path, port: int, streams: int, clients: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """Run client processes that open policy streams after a first line on standard input."""
    with contextlib.ExitStack() as stack:
        each = streams // clients
        given = (str(port), str(ca_bundle(folder)), str(each))
        firsts = (str(number * each) for number in range(clients))
        yield [
            stack.enter_context(process("-m", "bench.stream_clients", *given, first, stdin=True))
            for first in firsts
        ]


def say(client: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process."""
    if client.stdin is None:
        raise RuntimeError("no input")
    client.stdin.write(line + "\n")
    client.stdin.flush()


def hear(client: subprocess.Popen[str]) -> str:
    """Read a line from a process."""
    if client.stdout is None:
        raise RuntimeError("no output")
    return client.stdout.readline()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(fetch(f"http://127.0.0.1:{port}/healthz"))
    return False
