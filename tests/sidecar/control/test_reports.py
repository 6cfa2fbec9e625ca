import json
from pathlib import Path

import pytest

from sidecar import VERSION
from sidecar.control.client import ControlClient
from sidecar.control.reports import ProxyState, TargetState, build_report
from sidecar.control.settings import ControlSettings
from sidecar.model.policy.pod import PodPolicy
from sidecar.roles.pod.policy import PodPolicyReceiver
from tests.sidecar.control_service import CA

_STATE = ProxyState("pod", ["a fault"], [TargetState("http://:80/", "", 7)], 7)
_MAX_REPORT_BYTES = 64 << 10
"""How much of a report the control service reads."""


@pytest.fixture
def control() -> ControlClient[PodPolicy]:
    settings = ControlSettings("https://c", "", CA.certificate_pem, Path("token"), "pod")
    receiver = PodPolicyReceiver(None, reads_access=True)
    return ControlClient(settings, receiver, lambda policy: None)


def test_a_report_without_a_control_service_names_no_policy() -> None:
    report = build_report(_STATE, None, 1.23456)

    assert report.pop("residentBytes")
    assert report == {
        "role": "pod", "proxyVersion": VERSION, "policyVersion": "", "policyError": "",
        "policyIgnored": [], "faults": ["a fault"], "samples": 7, "policyAgeSeconds": 1.235,
        "targets": [{"url": "http://:80/", "up": True, "error": "", "samples": 7}],
    }  # fmt: skip


def test_what_happened_of_late_is_told() -> None:
    assert (
        build_report(_STATE._replace(notes=["x" * 1000] * 20), None, 0)["notes"] == ["x" * 200] * 8
    )


def test_a_target_with_an_error_is_down() -> None:
    state = _STATE._replace(targets=[TargetState("http://:80/", "answered 500", 0)])

    assert build_report(state, None, 0)["targets"] == [
        {"url": "http://:80/", "up": False, "error": "answered 500", "samples": 0}
    ]


def test_a_report_says_what_became_of_the_last_policy(control: ControlClient[PodPolicy]) -> None:
    control.version, control.policy_error, control.ignored = "v7", "labels.a: bad", ("shiny",)

    report = build_report(_STATE, control, 0)

    assert (report["policyVersion"], report["policyError"]) == ("v7", "labels.a: bad")
    assert report["policyIgnored"] == ["shiny"]


def test_a_report_is_small_enough_to_be_read_however_long_its_parts(
    control: ControlClient[PodPolicy],
) -> None:
    long = "\U0001f4a5" * 100_000
    control.policy_error, control.ignored = long, ("x" * 100_000,) * 1000
    state = ProxyState("pod", [long] * 1000, [TargetState(long, long, 1)] * 1000, 1000)

    report = json.dumps(build_report(state, control, 0), ensure_ascii=False).encode()

    assert len(report) < _MAX_REPORT_BYTES


def test_of_a_long_error_the_beginning_is_reported() -> None:
    report = build_report(_STATE._replace(faults=["port 80: " + "x" * 500]), None, 0)

    assert report["faults"] == ["port 80: " + "x" * 191]
