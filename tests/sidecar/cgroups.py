"""A real memory cgroup, as the kubelet makes one for a container."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path("/sys/fs/cgroup")


class MemoryCgroup(NamedTuple):
    """The folder of a cgroup, and the file that counts its events."""

    path: Path
    events: Path

    def kills(self) -> int:
        """How many of the cgroup's processes the kernel killed."""
        lines = dict(line.split() for line in self.events.read_text().splitlines())
        return int(lines["oom_kill"])

    @property
    def procs(self) -> Path:
        """The file to which the process ID of a new member is written."""
        return self.path / "cgroup.procs"


@contextlib.contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[MemoryCgroup]:
    """Make a cgroup with a limit; skip the test if the machine does not allow it."""
    is_first_version = (_ROOT / "memory").is_dir()
    path = (_ROOT / "memory" if is_first_version else _ROOT) / f"livery-test-{os.getpid()}"
    limit, events = (
        ("memory.limit_in_bytes", "memory.oom_control")
        if is_first_version
        else ("memory.max", "memory.events")
    )
    try:
        path.mkdir()
        (path / limit).write_text(str(limit_bytes))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}; run as root to have one")
    try:
        yield MemoryCgroup(path, path / events)
    finally:
        deadline = time.monotonic() + 10
        while path.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # a process has not quite ended
                path.rmdir()
            time.sleep(0.05)
