"""Takes the pictures of README and docs from the running demo: `make pictures`."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.chromium import running_chromium

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
_PICTURES = (
    ("status-light", "light", 1200),
    ("status-dark", "dark", 1200),
    ("status-phone", "light", 390),
)


def main() -> int:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with running_demo() as url, running_chromium() as browser:
        for name, scheme, width in _PICTURES:
            page = browser.new_page(
                viewport={"width": width, "height": 860},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(url)
            page.get_by_text("connection refused on port").first.wait_for()
            page.wait_for_timeout(300)
            page.screenshot(path=FOLDER / f"{name}.png")
            print(FOLDER / f"{name}.png")
            if name == "status-light":
                page.locator("#playground").screenshot(path=FOLDER / "playground.png")
    return 0


@contextmanager
def running_demo() -> Iterator[str]:
    """Run `livery demo` and yield its page's address."""
    with subprocess.Popen(
        [sys.executable, "-m", "injector", "demo"],
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            lines: list[str] = []
            for line in demo.stdout or ():
                lines.append(line)
                if "Ctrl-C ends the demo" in line:
                    break
            found = re.search(r"status page (http://\S+)", "".join(lines))
            if found is None:
                raise RuntimeError(f"the demo did not start: {''.join(lines)[-2000:]}")
            yield found[1]
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=30)


if __name__ == "__main__":
    sys.exit(main())
