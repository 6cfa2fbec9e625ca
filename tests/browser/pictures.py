"""Takes the pictures of README and docs from the running demo: `make pictures`."""

import sys
from pathlib import Path

from tests.first_hour.demo import running_demo
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
    with running_demo() as demo, running_chromium() as browser:
        for name, scheme, width in _PICTURES:
            page = browser.new_page(
                viewport={"width": width, "height": 860},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(demo.url)
            page.get_by_text("connection refused on port").first.wait_for()
            page.wait_for_timeout(300)
            page.screenshot(path=FOLDER / f"{name}.png")
            print(FOLDER / f"{name}.png")
            if name == "status-light":
                page.locator("#playground").screenshot(path=FOLDER / "playground.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
