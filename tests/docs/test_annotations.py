"""The pages about annotations and settings name all of them, with examples that work."""

import re

import pytest
import yaml

from injector.model.admission.decide import decide
from injector.model.admission.outcomes import Reason
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.document import _FIELDS, parse_platform
from injector.platform.settings import Platform
from sidecar.model.exposition.limits import LIMITS
from tests.charts.test_monitoring import _alerts
from tests.docs.test_links import ROOT
from tests.injector.webhook import Json

PAGE = (ROOT / "docs" / "annotations.md").read_text()
_ROW = re.compile(r"^\| `((?:livery\.dev|prometheus\.io)/[a-z-]+)` \| `([^`]+)` \|", re.MULTILINE)
_OURS = re.compile(r"livery\.dev/[a-z-]+")


def _pod(annotations: dict[str, str]) -> Json:
    containers = [{"name": name, "image": "x"} for name in ("app", "envoy")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"containers": containers},
    }


def test_every_name_of_the_code_is_on_the_page_and_no_other() -> None:
    constants = [value for value in vars(names).values() if isinstance(value, str)]
    known = {value for value in constants if value.startswith("livery.dev/")}
    known |= set(names.RESOURCES.values())
    known.remove(names.LIMIT)
    known |= {names.LIMIT.format(limit.name) for limit in LIMITS}

    assert set(_OURS.findall(PAGE)) == known


@pytest.mark.parametrize(("key", "example"), _ROW.findall(PAGE))
def test_an_example_is_taken_without_a_warning(key: str, example: str) -> None:
    annotations = {"prometheus.io/scrape": "true", key: example.strip('"')}
    decision = decide(_pod(annotations), "shop", ClusterState(), Platform())

    assert decision.reason is Reason.INJECTED
    assert decision.warnings == ()


def test_the_whole_example_is_injected_without_a_warning() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    decision = decide(yaml.safe_load(text), "shop", ClusterState(), Platform())

    assert (decision.reason, decision.warnings) == (Reason.INJECTED, ())


def test_the_example_of_the_platform_has_every_setting() -> None:
    document = yaml.safe_load((ROOT / "examples" / "platform.yaml").read_text())
    parse_platform(document)
    for path, fields in _FIELDS.items():
        block = document
        for part in filter(None, path.split(".")):
            block = block[part]
        for item in block if isinstance(block, list) else [block]:
            assert set(item) == fields


def test_every_alert_has_its_runbook() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()

    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == [rule["alert"] for rule in _alerts()]


def test_the_policy_of_the_readme_is_the_example() -> None:
    example = (ROOT / "examples" / "policy.yaml").read_text()

    assert f"```yaml\n{example}```" in (ROOT / "README.md").read_text()
