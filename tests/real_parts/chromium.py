"""Drives a real Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.real_parts.go import RealPartMissing

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Disable the browser's own requests to other hosts, and whatever needs a screen.
_ARGUMENTS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium_program() -> str:
    """Returns the path of the browser."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise RealPartMissing("chromium", "install it, on Debian: apt-get install chromium")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Runs a headless browser."""
    arguments = [*_ARGUMENTS]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # as root, it refuses to run with a sandbox
    program = chromium_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
