"""The demo with a browser tab and a Prometheus, as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def _demo(folder: Path) -> Iterator[list[str]]:
    """Run the demo with Prometheus on its PATH; yield the lines that it prints before it waits."""
    program = have(prometheus_program)
    tools, temporary = folder / "bin", folder / "tmp"
    tools.mkdir()
    temporary.mkdir()
    (tools / "prometheus").symlink_to(program)
    environment = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(temporary),
        "NO_COLOR": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "injector", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line.strip())
            if "Ctrl-C" in line:
                break
        try:
            yield said
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
    assert list(temporary.iterdir()) == []


def _find(said: list[str], pattern: str) -> str:
    return next(found[0] for line in said if (found := re.search(pattern, line)))


def _wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_label_edit_shows_on_the_page_and_in_prometheus(tmp_path: Path, page: Page) -> None:
    with _demo(tmp_path) as said:
        page.goto(_find(said, r"http://localhost:\d+"))
        row = page.locator("[id='w-shop/web-0']")
        expect(row).to_contain_text("team=frontend")
        link = page.get_by_role("link", name="requests by team").get_attribute("href")
        assert link == _find(said, r"http://\S+/graph\S+")
        file = Path(page.locator(".hint code").first.inner_text())
        address = urllib.parse.urlsplit(link)
        expression = urllib.parse.parse_qs(address.query)["g0.expr"][0]
        prometheus = Prometheus(f"http://{address.netloc}", 0)

        def teams() -> set[str]:
            with suppress(OSError):  # Prometheus is still starting
                return {item["metric"].get("team", "") for item in prometheus.query(expression)}
            return set()

        _wait_until(lambda: {"frontend", "payments"} <= teams())
        file.write_text(file.read_text().replace("team: frontend", "team: platform"))

        expect(row).to_contain_text("team=platform")
        _wait_until(lambda: "platform" in teams())
        answer = json.loads(prometheus.get("/api/v1/targets?state=active"))
        assert {target["health"] for target in answer["data"]["activeTargets"]} == {"up"}
