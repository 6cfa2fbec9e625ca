import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.check import check_exposition, check_policy, main
from sidecar.model.exposition.formats import Format
from tests.sidecar.processes import ROOT


def _check(body: bytes, fmt: Format = Format.TEXT) -> tuple[int, list[dict[str, Any]]]:
    out = io.StringIO()
    code = check_exposition(io.BytesIO(body), fmt, out)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_sample_is_one_object() -> None:
    body = b'# HELP a A.\n\na{b="x\\n\\"y\\"",e=""} 1e3 1700\n{"q r",c="\xe2\x82\xac"} NaN\n'

    assert _check(body) == (
        0,
        [
            {"name": "a", "labels": {"b": 'x\n"y"'}, "value": "1e3", "timestamp_ms": 1700},
            {"name": "q r", "labels": {"c": "€"}, "value": "NaN", "timestamp_ms": None},
        ],
    )


def test_openmetrics_times_are_milliseconds_and_exemplars_left_out() -> None:
    body = b'a_total 1 1.5 # {t="x"} 2 3\nb 2 # {t="x"} 2\n# EOF\n'

    code, samples = _check(body, Format.OPENMETRICS)

    assert code == 0
    assert [(item["value"], item["timestamp_ms"]) for item in samples] == [("1", 1500), ("2", None)]


def test_a_time_beyond_all_bounds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    body = b"# HELP b B.\nb 1\na 1 1e308\n# EOF\n"
    code, samples = _check(body, Format.OPENMETRICS)

    assert (code, len(samples)) == (1, 1)
    assert capsys.readouterr().err == (
        "livery-proxy: line 3: 1e308: the timestamp is out of range\n"
    )


def test_what_is_bad_is_named_on_stderr_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, samples = _check(b"a 1\nb{ 2\nc 3\n")

    assert (code, [item["name"] for item in samples]) == (1, ["a"])
    assert capsys.readouterr().err.startswith("livery-proxy: line 2: ")


def test_an_empty_body_is_good_text_and_bad_openmetrics() -> None:
    assert _check(b"") == (0, [])
    assert _check(b"", Format.OPENMETRICS)[0] == 1


def test_a_good_policy_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("labels: {example.com/team: blue}\nlabelRules: {protected: [team]}\n")
    out = io.StringIO()

    assert check_policy(path, "", out) == 0
    assert json.loads(out.getvalue()) == {
        "role": "pod",
        "labels": {"example_com_team": "blue"},
        "protected": ["team"],
        "metricRelabelings": 0,
        "accessRules": None,
    }


def test_a_bad_policy_is_named_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"livery-proxy: {tmp_path / 'none'}: ")


@pytest.mark.parametrize(
    "arguments", [[], ["what"], ["policy"], ["exposition", "--format", "protobuf"]]
)
def test_a_bad_call_is_a_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: livery-proxy check" in capsys.readouterr().err


def test_the_process_reads_stdin_and_answers_by_its_exit_code() -> None:
    command = [sys.executable, "-m", "sidecar", "check", "exposition"]
    done = subprocess.run(
        command, cwd=ROOT, input="a 1\nb\n", capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "name": "a",
        "labels": {},
        "value": "1",
        "timestamp_ms": None,
    }
    assert done.stderr == "livery-proxy: line 2: 'b' has no value\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m sidecar check exposition | head -n 1"
    body = "".join(f"a{number} 1\n" for number in range(50_000))
    done = subprocess.run(
        command, shell=True, cwd=ROOT, input=body, capture_output=True, text=True, check=False
    )

    assert json.loads(done.stdout)["name"] == "a0"
    assert done.stderr == ""


def test_a_gateway_s_policy_is_shown_by_its_tenants(tmp_path: Path) -> None:
    path = tmp_path / "tenants.json"
    rule = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}
    path.write_text(json.dumps({"tenants": {"shop": [rule, rule]}}))
    out = io.StringIO()

    assert check_policy(path, "gateway", out) == 0
    assert json.loads(out.getvalue()) == {"role": "gateway", "tenants": {"shop": 2}}


def test_a_configuration_is_read_by_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("proxy: {backend_timeout: 5s}")

    assert main(["config", str(path)]) == 0
    assert "timeoutSeconds: 5 " in capsys.readouterr().out
