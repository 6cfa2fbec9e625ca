"""Drives a real Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.real_parts.go import RealPartMissing

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What it would ask of other hosts by itself, and what needs a screen.
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
    """Runs a browser without a window until the end."""
    arguments = [*_ARGUMENTS]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # it refuses to run as root with one
    program = chromium_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
