import asyncio
import json
from pathlib import Path

import pytest

from sidecar.control.policy_file import PolicyFile, read_policy_file
from sidecar.errors import DocumentError, PolicyError
from sidecar.model.policy.pod import parse_pod_policy
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "text", ['{"labels": {"team": "blue"}}', "labels:\n  team: blue\n", "---\nlabels: {team: blue}"]
)
def test_json_and_yaml_say_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy"
    path.write_text(text)

    assert read_policy_file(path, parse_pod_policy).series.labels == {"team": "blue"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a policy must be a mapping"),
        (b"[]", "a policy must be a mapping"),
        (b"labels: [", "not YAML: "),
        (b"[" * 100_000, "not YAML: "),
        (b"\xff\xfe", "'utf-8' codec can't decode"),
        (b"\0", "not YAML: "),
        (b"labels: !!python/object:os.system {}", "not YAML: "),
        (b"labels: {a: 2000-99-99}", "not YAML: a value"),
        (b"label: {a: b}", "label: not a field of a policy"),
        (b"{schema: 99}", "policy schema 99 is newer"),
        (b'{"labels": {"a": "\\ud800"}}', "labels: a string is not valid Unicode"),
        (b"labels: {a: 1}", "labels.a"),
        (b"metricRelabelings: [{action: drop, regex: '('}]", "metricRelabelings[0].regex"),
        (b"#" * ((16 << 20) + 1), "more than 16777216 bytes"),
    ],
)
def test_a_bad_file_is_refused_with_path_and_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "policy"
    path.write_bytes(content)

    with pytest.raises(PolicyError) as caught:
        read_policy_file(path, parse_pod_policy)
    assert str(caught.value).startswith(f"{path}: {reason}")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="Is a directory"):
        read_policy_file(tmp_path, parse_pod_policy)
    with pytest.raises(PolicyError, match="No such file"):
        read_policy_file(tmp_path / "none", parse_pod_policy)


def test_json_with_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    deep: object = {}
    for _ in range(500):
        deep = {"a": deep}
    path.write_text(json.dumps({"labels": deep}))

    with pytest.raises(PolicyError):
        read_policy_file(path, parse_pod_policy)


@pytest.mark.parametrize(("levels", "is_read"), [(48, True), (52, False)])
def test_yaml_is_read_to_its_depth_and_no_further(
    tmp_path: Path, levels: int, is_read: bool
) -> None:
    path = tmp_path / "policy"
    path.write_text("labels: " + "{a: " * levels + "b" + "}" * levels)

    # A nested value is not a label, so both are refused; the error shows how far it was read.
    with pytest.raises(PolicyError, match="labels.a" if is_read else "nested deeper"):
        read_policy_file(path, parse_pod_policy)


async def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.control.policy_file.POLL_SECONDS", 0.01)
    monkeypatch.setattr("sidecar.control.policy_file.RETRY_SECONDS", 0.01)
    attempts: list[Path] = []
    applied: list[object] = []
    reasons: list[str] = []

    def load(path: Path) -> object:
        attempts.append(path)
        if len(attempts) < 4:
            raise DocumentError(f"{path}: Input/output error")
        return "the policy"

    def reject(reason: str, *, is_first: bool) -> None:
        assert is_first
        reasons.append(reason)

    file = PolicyFile(tmp_path / "policy", str, applied.append, reject, load=load)
    file.read()
    following = asyncio.create_task(file.follow())
    await until(lambda: bool(applied))
    following.cancel()

    assert applied == ["the policy"]
    assert len(reasons) == 1
