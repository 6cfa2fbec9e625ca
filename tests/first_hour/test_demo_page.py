"""The demo's page, as a person sees it in a browser."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.first_hour.demo import Demo, running_demo
from tests.real_parts.chromium import chromium_program, running_chromium
from tests.real_parts.presence import have

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    have(chromium_program)
    with running_chromium() as running:
        yield running


@pytest.fixture
def page(demo: Demo, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.goto(demo.url)
    yield opened
    context.close()


def test_a_pod_that_fails_on_purpose_says_why_in_one_line(page: Page) -> None:
    row = page.locator("[id='w-shop/cart-0']")

    expect(row).to_contain_text("failing", timeout=30_000)
    expect(row.locator("p.bad")).to_have_text(
        re.compile(r"^connection refused on port \d+ \(127\.0\.0\.1, ::1\)$")
    )


def test_an_edit_is_on_the_page_at_once(page: Page, demo: Demo) -> None:
    row = page.locator("[id='w-shop/web-0']")
    expect(row).to_contain_text("team=frontend", timeout=30_000)

    text = demo.namespaces_file.read_text()
    demo.namespaces_file.write_text(text.replace("team: frontend", "team: backend"))
    try:
        # Within three seconds, without a reload.
        expect(row).to_contain_text("team=backend", timeout=3_000)
    finally:
        demo.namespaces_file.write_text(text)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_of_it_can_be_reached_from_another_machine(demo: Demo) -> None:
    port = int(demo.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), 1).close()
    inodes = _sockets_of(_descendants(os.getpid()))
    public = [address for address, inode in _listening() if inode in inodes]

    assert public == []


def _listening() -> list[tuple[str, str]]:
    """Return listening addresses other than loopback, each with its socket's inode."""
    found = []
    loopback = {"0100007F", "00000000000000000000000001000000"}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            address = fields[1].partition(":")[0]
            if fields[3] == "0A" and address not in loopback:
                found.append((fields[1], fields[9]))
    return found


def _descendants(pid: int) -> set[int]:
    ran = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(line.split()[0]): int(line.split()[1]) for line in ran.stdout.splitlines()}
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = [child for child, parent in parents.items() if parent == waiting[0]]
        found.update(children)
        waiting = [*waiting[1:], *children]
    return found


def _sockets_of(pids: set[int]) -> set[str]:
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found
