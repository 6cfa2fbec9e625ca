"""A real `livery-proxy` process."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


class Proxy:
    """A running proxy; its log goes to a file."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        log: Path,
        environ: Mapping[str, str],
        procs: Path | None = None,
    ) -> None:
        self.log = log
        command = [sys.executable, "-m", "sidecar", *arguments]
        if procs is not None:
            # It enters the cgroup before it allocates any memory.
            enter = f'echo $$ > {shlex.quote(str(procs))} && exec "$@"'
            command = ["sh", "-c", enter, "sh", *command]
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stderr=stderr, env={**os.environ, **environ}
            )

    def entries(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def port(self, what: str = "metrics") -> int:
        """Wait until it listens, and return the port."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            for entry in self.entries():
                if entry["msg"] == "listening" and entry["for"] == what:
                    return int(entry["port"])
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def peak_mib(self) -> float:
        """The peak resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def running_proxy(
    *arguments: str,
    log: Path,
    environ: Mapping[str, str] | None = None,
    procs: Path | None = None,
) -> Iterator[Proxy]:
    """Run `livery-proxy --role pod` on free ports; `procs` is the member file of a cgroup."""
    given = ("--role", "pod", "--port", "0", "--admin-port", "0", *arguments)
    proxy = Proxy(given, log, environ or {}, procs)
    try:
        yield proxy
    finally:
        if proxy.process.poll() is None:
            proxy.process.kill()
        proxy.process.wait()
