"""Every admission case through the webhook and the command, which must agree.

`--update-golden` rewrites the golden results: check the diff against the docs before you keep it.
tests/cluster/test_policy.py runs the same cases through the chart's policy.
"""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from injector.commands.inputs import Offline
from injector.commands.workloads import find_pod, inject_object
from injector.files.manifests import read_manifests
from injector.model.admission.outcomes import Reason
from injector.model.admission.removal import uninject
from injector.model.cluster import names
from tests.injector.admission_cases import (
    CASES,
    GOLDEN,
    GOLDEN_CASES,
    TABLE,
    USUAL,
    Case,
    Expected,
    Json,
    describe_proxy,
    differences,
    make_pod,
    read_case,
    read_expected,
    write_expected,
)
from tests.injector.webhook import CA_BUNDLE, Webhook, apply, decode_patch, render_review

_INJECTED = [name for name in CASES if read_expected(name).reason == Reason.INJECTED]
_LEFT_ALONE = [
    name for name in TABLE if read_expected(name).reason not in (Reason.INJECTED, Reason.PREPARED)
]
_WORKLOADS = [name for name in _INJECTED if read_case(name).obj["kind"] != "Pod"]


def _review(case: Case, obj: Json, path: str = "/mutate") -> tuple[Json, Expected]:
    """Send a review; return the object after the webhook's patch, and the outcome."""
    webhook = Webhook(case.cluster, case.platform)
    response = webhook.answer(render_review(obj, case.namespace), path)
    assert response["allowed"] is True
    reasons = [item["reason"] for item in webhook.labels_of("livery_admission_reviews_total")]
    warnings = sorted(item["code"] for item in webhook.labels_of("livery_admission_warnings_total"))
    return apply(obj, decode_patch(response)), Expected(reasons[0], warnings, None, {})


def _inject(case: Case) -> tuple[Json, Expected]:
    """Inject as `livery inject` does."""
    treated = inject_object(
        case.obj, Offline(case.platform, case.cluster, CA_BUNDLE, case.namespace)
    )
    decision = treated.decision
    if decision is None:
        return treated.obj, Expected(None, [], None, {})
    warnings = sorted({str(warning.code) for warning in decision.warnings})
    return treated.obj, Expected(str(decision.reason), warnings, None, {})


def _webhook_path(case: Case) -> str | None:
    """The webhook's path for the object itself; None if only pods made from it are sent."""
    role = (case.obj["metadata"].get("labels") or {}).get(names.ROLE_LABEL)
    if role:
        return "/prepare" if role == "node" else None
    return "/mutate" if case.obj["kind"] == "Pod" else None


_REVIEWED = [name for name in CASES if _webhook_path(read_case(name))]


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_it_says_through_the_command(
    name: str, request: pytest.FixtureRequest
) -> None:
    case = read_case(name)
    untouched = copy.deepcopy(case.obj)

    result, ended = _inject(case)

    assert case.obj == untouched
    if request.config.getoption("--update-golden") and name in GOLDEN_CASES:
        # A DaemonSet of a proxy is prepared by the webhook; the command reports no reason for it.
        path = _webhook_path(case)
        ended = ended if path is None else _review(case, case.obj, path)[1]
        write_expected(name, result, ended.reason, ended.warnings)
    expected = read_expected(name)
    if expected.obj is not None:
        assert result == expected.obj
    if ended.reason is not None:
        assert (ended.reason, ended.warnings) == (expected.reason, expected.warnings)


@pytest.mark.parametrize("name", _REVIEWED)
def test_a_case_ends_through_the_webhook_as_through_the_command(name: str) -> None:
    case, expected = read_case(name), read_expected(name)

    result, ended = _review(case, case.obj, _webhook_path(case) or "")

    assert result == _inject(case)[0]
    assert (ended.reason, ended.warnings) == (expected.reason, expected.warnings)


@pytest.mark.parametrize("name", sorted(set(TABLE) & set(_INJECTED)))
def test_the_proxy_of_a_row_differs_from_the_usual_one_as_the_row_says(name: str) -> None:
    usual = describe_proxy(_inject(read_case(USUAL))[0])

    proxy = describe_proxy(_inject(read_case(name))[0])

    assert differences(proxy, usual) == read_expected(name).proxy


@pytest.mark.parametrize("name", _LEFT_ALONE)
def test_a_pod_that_is_left_alone_is_untouched(name: str) -> None:
    case = read_case(name)

    assert _inject(case)[0] == case.obj


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_a_directory_holds_a_case_and_nothing_stale(name: str) -> None:
    files = {path.name for path in (GOLDEN / name).iterdir()}

    assert files - {"platform.yaml"} == {"input.yaml", "expected.yaml"}


@pytest.mark.parametrize("name", _INJECTED)
def test_uninject_gives_a_case_back(name: str) -> None:
    case = read_case(name)
    after = find_pod(_inject(case)[0])
    assert after is not None

    assert uninject(after) == find_pod(case.obj)


@pytest.mark.parametrize("name", CASES)
def test_a_result_injected_again_stays(name: str) -> None:
    case = read_case(name)
    result = _inject(case)[0]

    assert _inject(case._replace(obj=result))[0] == result


@pytest.mark.parametrize("name", _INJECTED)
def test_an_injected_object_is_known_as_injected(name: str) -> None:
    case = read_case(name)

    again = _inject(case._replace(obj=_inject(case)[0]))[1]

    assert again.reason == Reason.ALREADY_INJECTED


@pytest.mark.parametrize("name", _WORKLOADS)
def test_a_pod_made_of_a_workload_gets_the_proxy_that_the_command_wrote(name: str) -> None:
    case = read_case(name)
    template = find_pod(_inject(case)[0])
    assert template is not None

    pod, _ = _review(case, make_pod(case.obj))

    assert pod["spec"] == template["spec"]
    annotations = dict(pod["metadata"]["annotations"])
    assert annotations.pop(names.ORIGINAL)
    assert annotations.items() <= template["metadata"]["annotations"].items()


@pytest.mark.parametrize(
    "name",
    [
        "annotated-pod-is-injected",
        "deployment",
        "label-rules-of-the-platform",
        "limit-range-clamps-down",
        "node-daemon-set-of-five-lines-is-completed",
        "object-without-a-pod-is-passed-through",
    ],
)
def test_the_command_itself_writes_what_a_case_says(name: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CA_BUNDLE)
    platform, source = GOLDEN / name / "platform.yaml", GOLDEN / name / "input.yaml"
    command = [sys.executable, "-m", "injector", "inject", "-f", str(source),
               "--control-ca", str(tmp_path / "ca.pem")]  # fmt: skip
    command += ["--platform", str(platform)] if platform.exists() else []

    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert read_manifests(ran.stdout, name)[-1].obj == read_expected(name).obj
