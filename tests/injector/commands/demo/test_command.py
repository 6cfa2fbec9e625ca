"""The demo, run as a user runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "injector", "demo"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"}


def test_the_demo_shows_the_path_once_and_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "--once"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    before, after = run.stdout.split("[6]")
    assert 'code="200",cost_center="4711",team="frontend"' in before
    assert 'code="200",cost_center="4711",team="backend"' in after
    assert "/spec/initContainers" in before
    # The application and its proxy show the same values.
    shown = re.findall(r"^ +(?:-> )?http_requests_total.* (\d+)$", before, re.MULTILINE)
    assert len(shown) == 12
    assert shown[0::2] == shown[1::2]
    assert re.search(r"\[7\] shop: team frontend → backend, on its series after \d+ ms:", after)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_stays_until_told_to_stop_and_shows_an_edit(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env={**environment(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        lines = iter(demo.stdout.readline, "")
        path = next(line.strip() for line in lines if "namespaces.yaml" in line)
        next(line for line in lines if "Ctrl-C" in line)
        edited = Path(path).read_text().replace("team: frontend", "team: platform")
        Path(path).write_text(edited)
        said = next(line for line in lines if "shop: " in line)
        assert re.fullmatch(r"shop: team frontend → platform, on its series after \d+ ms\n", said)
        assert 'team="platform"' in next(line for line in lines if "->" in line)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "--once", "--manifests", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2
    assert re.fullmatch(r"livery: .* is not a demo's folder.*\n", run.stderr)
