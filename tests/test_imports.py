"""What a pod's proxy loads: nothing that it does not use."""

import subprocess
import sys

import pytest

UNUSED = ["yaml", "re2", "isal", "httpx", "starlette", "uvicorn", "prometheus_client"]
UNUSED += ["cryptography", "jsonpatch", "injector", "webhook_certs", "kubernetes"]


@pytest.mark.parametrize(
    "module", ["sidecar.roles.pod.role", "sidecar.roles.pod.settings", "sidecar.__main__"]
)
def test_the_pod_role_loads_nothing_that_it_may_not_need(module: str) -> None:
    program = f"import sys, {module}; print(*set(sys.modules) & set({UNUSED!r}))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert run.stdout.split() == []
