import mmap
import platform
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.process import memory
from sidecar.process.memory import cpu_seconds, keep_freed_memory, resident_bytes
from tests.sidecar.processes import ROOT

_ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
_FAULTS = """
import resource, sys
from sidecar.process.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def scrape():
    return [bytearray(512 << 10) for _ in range(3)]
scrape()
before = count()
for _ in range(20):
    scrape()
print(count() - before)
"""


def _faults(*arguments: str) -> int:
    """Return the page faults of 20 scrapes; each frees its buffers at its end."""
    command = [sys.executable, "-c", _FAULTS, *arguments]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


@_ON_LINUX
def test_resident_memory_grows_by_what_is_written_to() -> None:
    with mmap.mmap(-1, 64 << 20) as block:
        before = resident_bytes()
        block.write(b"x" * (64 << 20))

        assert resident_bytes() - before > 48 << 20


@pytest.mark.parametrize("content", [None, "", "1", "1 x 3"])
def test_without_a_usable_proc_file_the_peak_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "statm").write_text(content)
    monkeypatch.setattr(memory, "_STATM", tmp_path / "statm")

    assert resident_bytes() >> 10 == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_cpu_time_grows_with_work() -> None:
    before = cpu_seconds()
    while cpu_seconds() == before:
        sum(range(10_000))

    assert cpu_seconds() > before > 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_the_memory_that_a_scrape_freed_serves_the_next_without_page_faults() -> None:
    pages_a_scrape = (3 * 512 << 10) // resource.getpagesize()

    assert _faults() > 10 * pages_a_scrape
    assert _faults("keep") < pages_a_scrape


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "ctypes", SimpleNamespace(CDLL=pytest.fail))

    keep_freed_memory()
