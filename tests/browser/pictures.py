"""Takes the pictures of README and docs: `make pictures`."""

import sys
import tempfile
import time
from pathlib import Path

from injector.control.journal import Reviewed
from tests.browser.stage import DOWN, UP, Stage, running_stage
from tests.real_parts.chromium import running_chromium

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
_RULES = """\
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: shop-metrics, namespace: shop}
spec:
  metricIsolation: true
  metrics: [http_requests_total, "http_request_duration_seconds.*", "broken("]
"""
_LEFT = 'neither livery.dev/inject nor prometheus.io/scrape is "true"'


def main() -> int:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_stage(Path(folder)) as stage:
        _fill(stage)
        with running_chromium() as browser:
            for name, scheme, width in (
                ("status-light", "light", 1200),
                ("status-dark", "dark", 1200),
                ("status-phone", "light", 390),
            ):
                page = browser.new_page(
                    viewport={"width": width, "height": 860},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                page.goto(stage.url)
                page.locator("[id='w-shop/web-0']").wait_for()
                page.wait_for_timeout(300)
                page.screenshot(path=FOLDER / f"{name}.png")
                print(FOLDER / f"{name}.png")
                if name == "status-light":
                    page.locator("#playground").screenshot(path=FOLDER / "playground.png")
    return 0


def _fill(stage: Stage) -> None:
    stage.label("shop", team="frontend", **{"cost-center": "4711"})
    stage.label("bank", team="payments")
    stage.label("search", team="discovery", tier="gold")
    stage.write("access.yaml", _RULES)
    time.sleep(0.5)  # until the world is read: policies are built of it
    for namespace, pod, targets in (
        ("shop", "web-0", [UP]),
        ("shop", "web-1", [UP]),
        ("bank", "ledger-0", [UP, DOWN]),
        ("search", "index-0", [UP]),
    ):
        version = stage.connect(namespace, pod)
        stage.report(namespace, pod, targets=targets, policyVersion=version)
    now = time.time()
    for number, (pod, reason, sentence) in enumerate(
        (
            ("cron-28", "not-annotated", _LEFT),
            ("index-0", "injected", "the proxy was added"),
            ("ledger-0", "injected", "the proxy was added"),
        )
    ):
        namespace = {"ledger-0": "bank", "index-0": "search"}.get(pod, "shop")
        stage.review(
            Reviewed(
                now - 60 + number, "inject", namespace, pod, reason, sentence, (), False, 0.0008
            )
        )
    time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
