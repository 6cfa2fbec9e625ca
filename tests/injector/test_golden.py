"""Whole objects through the webhook and the CLI, which must agree, against files that people read.

A case is a directory of `tests/golden`: `input.yaml` holds the world (Namespace, LimitRanges), then
the object; `platform.yaml`, where there is one, the platform's settings. `--update-golden` writes
`expected.yaml` and `expected.json` anew: read the diff against docs before you keep it.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from injector.commands.inputs import Offline, read_platform
from injector.commands.workloads import find_pod, inject_object
from injector.files.manifests import read_manifests, write_manifests
from injector.model.admission.outcomes import Reason
from injector.model.admission.removal import uninject
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform import Platform
from tests.injector.webhook import CA_BUNDLE, Json, Webhook, apply, decode_patch, render_review

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir())
WORKLOADS = ("deployment", "stateful-set", "replica-set", "daemon-set", "replication-controller",
             "job-with-a-native-sidecar", "job-with-container-mode-never-completes",
             "cron-job", "daemon-set-of-an-unknown-role-is-a-workload")  # fmt: skip


class Case(NamedTuple):
    cluster: ClusterState
    obj: Json
    namespace: str
    platform: Platform


def read_case(name: str) -> Case:
    path = GOLDEN / name / "platform.yaml"
    platform = read_platform(path if path.exists() else None)
    cluster = ClusterState()
    *known, obj = [manifest.obj for manifest in read_objects(name, "input.yaml")]
    for item in known:
        cluster.put(item["kind"], item)
    namespaces = cluster.namespaces()
    own = obj["metadata"].get("namespace", namespaces[0].name if namespaces else "default")
    return Case(cluster, obj, own, platform)


def read_objects(name: str, file: str) -> list[Any]:
    return list(read_manifests((GOLDEN / name / file).read_text(), f"{name}/{file}"))


def read_expected(name: str) -> tuple[Json, Json]:
    facts = json.loads((GOLDEN / name / "expected.json").read_text())
    return read_objects(name, "expected.yaml")[0].obj, facts


def review(case: Case, obj: Json, path: str = "/mutate") -> tuple[Json, Json]:
    """Ask the webhook; return the object that the API server goes on with, and the facts."""
    webhook = Webhook(case.cluster, case.platform)
    response = webhook.answer(render_review(obj, case.namespace), path)
    assert response["allowed"] is True
    operations = decode_patch(response)
    reasons = [item["reason"] for item in webhook.labels_of("livery_admission_reviews_total")]
    warnings = sorted(item["code"] for item in webhook.labels_of("livery_admission_warnings_total"))
    facts = {"reason": reasons[0], "warnings": warnings, "patch": operations}
    return apply(obj, operations), facts


def inject(case: Case) -> tuple[Json, Json]:
    """Inject as `livery inject` does."""
    treated = inject_object(
        case.obj, Offline(case.platform, case.cluster, CA_BUNDLE, case.namespace)
    )
    decision = treated.decision
    if decision is None:
        return treated.obj, {"reason": None, "warnings": []}
    codes = sorted({str(warning.code) for warning in decision.warnings})
    return treated.obj, {"reason": str(decision.reason), "warnings": codes}


def webhook_path(case: Case) -> str | None:
    """Where the API server would send the very object; None if it sends only pods made of it."""
    if case.obj["metadata"].get("labels") and case.obj["metadata"]["labels"].get(names.ROLE_LABEL):
        return "/prepare" if case.obj["metadata"]["labels"][names.ROLE_LABEL] == "node" else None
    return "/mutate" if case.obj["kind"] == "Pod" else None


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_its_files_say_through_webhook_and_command(
    name: str, request: pytest.FixtureRequest
) -> None:
    case = read_case(name)
    untouched = copy.deepcopy(case.obj)
    result, facts = inject(case)
    path = webhook_path(case)
    if path is not None:
        reviewed, answered = review(case, case.obj, path)
        assert reviewed == result
        assert {key: answered[key] for key in facts} == facts
        facts = answered
    assert case.obj == untouched
    if request.config.getoption("--update-golden"):
        (GOLDEN / name / "expected.yaml").write_text(write_manifests([result]))
        (GOLDEN / name / "expected.json").write_text(json.dumps(facts, indent=2) + "\n")
    assert (result, facts) == read_expected(name)


@pytest.mark.parametrize("name", CASES)
def test_a_directory_holds_a_case_and_nothing_stale(name: str) -> None:
    files = {path.name for path in (GOLDEN / name).iterdir()}

    assert files - {"platform.yaml"} == {"input.yaml", "expected.yaml", "expected.json"}


@pytest.mark.parametrize("name", CASES)
def test_uninject_gives_a_case_back(name: str) -> None:
    case, (result, facts) = read_case(name), read_expected(name)
    before, after = find_pod(case.obj), find_pod(result)
    if before is None or after is None or facts["reason"] != Reason.INJECTED:
        return

    assert uninject(after) == before


@pytest.mark.parametrize("name", CASES)
def test_a_result_injected_again_stays(name: str) -> None:
    case, (result, facts) = read_case(name), read_expected(name)

    again, answer = inject(case._replace(obj=result))

    assert again == result
    if facts["reason"] == Reason.INJECTED:
        assert answer["reason"] == Reason.ALREADY_INJECTED


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_made_of_a_workload_gets_the_proxy_that_the_command_wrote(name: str) -> None:
    case, (result, _) = read_case(name), read_expected(name)
    template = find_pod(result)
    assert template is not None

    pod, _ = review(case, make_pod(case.obj))

    assert pod["spec"] == template["spec"]
    annotations = dict(pod["metadata"]["annotations"])
    assert annotations.pop(names.ORIGINAL)
    assert annotations.items() <= template["metadata"]["annotations"].items()


def make_pod(workload: Json) -> Json:
    """Make a pod of a workload's template as Kubernetes' controllers do."""
    pod = copy.deepcopy(find_pod(workload))
    assert pod is not None
    kind, name = workload["kind"], workload["metadata"]["name"]
    if kind == "Deployment":
        kind, name = "ReplicaSet", f"{name}-5d4f8"
        pod["metadata"].setdefault("labels", {})["pod-template-hash"] = "5d4f8"
    elif kind == "CronJob":
        kind, name = "Job", f"{name}-28391040"
    owner = {"apiVersion": "any/v1", "kind": kind, "name": name, "controller": True, "uid": "u"}
    pod["metadata"] |= {"generateName": f"{name}-", "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", **pod}


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
    command = [sys.executable, "-m", "injector", "inject", "-f", str(source), "-n", "default",
               "--control-ca", str(tmp_path / "ca.pem")]  # fmt: skip
    command += ["--platform", str(platform)] if platform.exists() else []

    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert read_manifests(ran.stdout, name)[-1].obj == read_expected(name)[0]
