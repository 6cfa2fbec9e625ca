"""The cluster that KUBECONFIG names, with images built from the Dockerfiles: `make e2e`."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar import VERSION
from tests.first_hour.blocks import bash_blocks, commands
from tests.real_parts.kubernetes import helm_program
from tests.real_parts.prometheus import prometheus_program

ROOT = Path(__file__).parents[2]
NAMESPACE = "livery-system"
TAG = VERSION


class Cluster:
    """A user's operations on a cluster, with kubectl and helm."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; returns its output."""
        return self._run(["kubectl", *arguments], stdin)

    def helm(self, *arguments: str) -> str:
        """Run helm; returns its output."""
        return self._run([str(helm_program()), "-n", NAMESPACE, *arguments], None)

    def helm_with(self, values: str, *arguments: str) -> str:
        """Run helm with values on its standard input."""
        return self._run([str(helm_program()), "-n", NAMESPACE, *arguments], values)

    @contextmanager
    def upgraded(self, *settings: str, values: str = "") -> Iterator[None]:
        """Upgrade Livery with further settings, and restore exactly the former ones afterwards.

        Args:
            settings: each as `--set` takes it.
            values: the same as YAML.
        """
        former = self.helm("get", "values", "livery", "--output", "json")
        upgrade = ("upgrade", "livery", "charts/livery", "--values", "-", "--timeout", "3m")
        sets = (part for setting in settings for part in ("--set", setting))
        self.helm_with(values, *upgrade, "--reset-then-reuse-values", "--wait", *sets)
        try:
            yield
        finally:
            self.helm_with(former, *upgrade, "--reset-values", "--wait")

    def livery(self, *arguments: str) -> str:
        """Run livery; returns its output."""
        return self._run([sys.executable, "-m", "injector", *arguments], None)

    def bash(self, command: str) -> str:
        """Run a command of the documentation, with helm and livery on PATH."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "helm").symlink_to(helm_program())
            programs = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
            shell = ["env", f"PATH={programs}", "bash", "-euo", "pipefail", "-c", command]
            return self._run(shell, None)

    def doctor(self) -> str:
        """Return what `livery doctor` prints, problems or not."""
        command = [sys.executable, "-m", "injector", "doctor"]
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode in (0, 1), ran.stderr
        return ran.stdout

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get -o json` finds."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def get_raw(self, path: str) -> Any:
        """Return what `kubectl get --raw` finds."""
        return json.loads(self.kubectl("get", "--raw", path.replace(" ", "%20")))

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Return the pods that are not being deleted."""
        found = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def scrape(self, namespace: str, pod: str, port: int = 16090) -> str:
        """Scrape a pod's proxy from inside the pod."""
        url = f"http://127.0.0.1:{port}/metrics"
        code = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
        return self.kubectl("exec", "-n", namespace, pod, "--", "python", "-c", code)

    def _run(self, command: list[str], stdin: str | None) -> str:
        ran = subprocess.run(
            command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=300, check=False
        )
        if ran.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: {ran.stderr.strip()}")
        return ran.stdout


def until(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Wait for a condition and return its value; a busy machine may take minutes."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
            if found:
                return found
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def prometheus_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Prometheus and nothing else, in the cluster."""
    return build_image("prometheus", prometheus_program(), tmp_path_factory.mktemp("prometheus"))


def build_image(name: str, program: Path, folder: Path) -> str:
    """Build an image with one program, /bin/NAME, load it, and return the image's name."""
    shutil.copy(program, folder / "program")
    (folder / "Dockerfile").write_text(
        "ARG BASE_IMAGE=python:3.13-slim\nFROM ${BASE_IMAGE}\n"
        f'COPY program /bin/{name}\nENTRYPOINT ["/bin/{name}"]\n'
    )
    build = shlex.split(os.environ["E2E_BUILD_IMAGE"])
    image = f"localhost/livery-{name}:{TAG}"
    subprocess.run([*build, image, str(folder), "-f", str(folder / "Dockerfile")], check=True)
    return image


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with Livery installed from this tree, and uninstalled afterwards."""
    build = shlex.split(os.environ["E2E_BUILD_IMAGE"])
    for name in ("injector", "sidecar"):
        command = [*build, f"localhost/livery-{name}:{TAG}", ".", "-f", f"Dockerfile.{name}"]
        subprocess.run(command, cwd=ROOT, check=True)
    made = Cluster()
    started = time.monotonic()
    # The earlier commands create the kind cluster, and build and load the images.
    *_, install = commands(bash_blocks("docs/quickstart.md")[0])
    made.bash(f"{install} --timeout 3m")
    print(f"installed after {time.monotonic() - started:.1f} s")
    yield made
    made.helm("uninstall", "livery", "--wait")
    made.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
