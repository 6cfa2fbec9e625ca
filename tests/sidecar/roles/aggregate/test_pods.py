from typing import Any

import pytest

from sidecar.model.pods.label_selector import parse_label_selector
from sidecar.model.pods.scraped_pod import ScrapedPod, parse_scraped_pod
from sidecar.roles.aggregate.pods import PodSelector, Selection
from sidecar.scrape.pods.settings import PodsSettings
from tests.sidecar.model.pods.test_scraped_pod import raw_pod

_NO_TARGET = {"livery.dev/targets": ",", "prometheus.io/scrape": "true"}
_SELECTOR = parse_label_selector("app=web")


def _pod(name: str = "web-0", **changes: Any) -> ScrapedPod:
    changes.setdefault("metadata__uid", name)
    return parse_scraped_pod(raw_pod(metadata__name=name, **changes), "pod")


def _select(*pods: ScrapedPod, namespaces: tuple[str, ...] = ()) -> Selection:
    selector = PodSelector(_SELECTOR, namespaces, PodsSettings(), allows_local=False)
    return selector.select(pods)


def test_pods_that_match_run_and_ask_are_scraped() -> None:
    selection = _select(
        _pod("a"),
        _pod("other", metadata__labels={"app": "api"}),
        _pod("silent", metadata__annotations={}),
        _pod("starting", status__phase="Pending"),
        _pod("ending", metadata__deletionTimestamp="now"),
    )

    assert [target.pod for target in selection.targets] == ["a"]
    assert (selection.running, selection.silent, selection.waiting) == (1, 1, 2)


def test_pods_of_other_namespaces_are_left_out() -> None:
    assert _select(_pod(), namespaces=("bank",)).is_empty
    assert not _select(_pod(), namespaces=("shop",)).is_empty


@pytest.mark.parametrize(
    ("pods", "sentence"),
    [
        ([], "there is no pod that matches 'app=web' in namespace shop"),
        (
            [_pod(metadata__annotations={})],
            "no pod that matches 'app=web' in namespace shop can be scraped: "
            '1 without prometheus.io/scrape: "true"',
        ),
        (
            [_pod(status__phase="Pending"), _pod("b", metadata__annotations=_NO_TARGET)],
            "no pod that matches 'app=web' in namespace shop can be scraped: 1 not running, "
            "1 without a usable target",
        ),
    ],
)  # fmt: skip
def test_nothing_to_scrape_has_its_reasons(pods: list[ScrapedPod], sentence: str) -> None:
    assert _select(*pods).describe(_SELECTOR, "namespace shop") == sentence


def test_a_selector_of_everything_is_described_in_words() -> None:
    sentence = _select().describe(parse_label_selector(""), "all namespaces")

    assert sentence == "there is no pod in all namespaces"
