"""The demo's gateway, run as a user with Prometheus on PATH sees it."""

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.injector.commands.demo.test_command import COMMAND, ROOT, environment
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program


def test_each_team_asks_the_same_and_gets_its_own(tmp_path: Path) -> None:
    program = have(prometheus_program)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "prometheus").symlink_to(program)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    path = f"{programs}:{os.environ['PATH']}"
    with subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env={**environment(temporary), "PYTHONUNBUFFERED": "1", "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in iter(demo.stdout.readline, ""):
            said += line
            if "Ctrl-C" in line:
                break
        (command,) = re.findall(r"curl -s -u bank:bank '.*'", said)
        asked = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0

    assert re.search(r'shop +-> \{namespace="shop",team="frontend"\} \d+', said)
    assert re.search(r'bank +-> \{namespace="bank",team="payments"\} \d+', said)
    assert '"team":"payments"' in asked.stdout
    assert "frontend" not in asked.stdout
    assert list(temporary.iterdir()) == []
    # A team's own Prometheus gets that team's series from its proxy, and no others.
    _, _, sent = said.partition("bank's own Prometheus")
    assert re.search(r'\{namespace="bank",team="payments",tenant="bank"\} \d+ series', sent)
    assert "shop" not in sent.partition("Now you")[0]
