"""The modules that each role of the proxy loads: memory use is a contract."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

_EVERY_ROLE = {
    "sidecar", "sidecar.control", "sidecar.http", "sidecar.model", "sidecar.model.access",
    "sidecar.model.exposition", "sidecar.model.labels", "sidecar.model.policy",
    "sidecar.model.promql", "sidecar.model.rewrite", "sidecar.process", "sidecar.roles",
}  # fmt: skip
PACKAGES = {
    "pod": _EVERY_ROLE | {"sidecar.roles.pod", "sidecar.scrape"},
    "node": _EVERY_ROLE
    | {
        "sidecar.auth", "sidecar.kubelet", "sidecar.kubelet.discovery", "sidecar.model.pods",
        "sidecar.roles.node",
    },
    "aggregate": _EVERY_ROLE
    | {
        "sidecar.model.pods", "sidecar.pods", "sidecar.roles.aggregate", "sidecar.scrape",
        "sidecar.scrape.pods",
    },
    "gateway": (_EVERY_ROLE - {"sidecar.model.rewrite"})
    | {
        "sidecar.auth", "sidecar.gateway", "sidecar.gateway.backends", "sidecar.gateway.callers",
        "sidecar.roles.gateway",
    },
}  # fmt: skip
"""First-party packages by role."""
THIRD_PARTY = {"httptools"}
"""Third-party packages that every role loads at startup; others are loaded when first needed:
re2 with a rule, isal with gzip, yaml with a policy file, httpx with discovery."""

_PROGRAM = """
import sys
before = set(sys.modules)
import json, sidecar.__main__, asyncio
import sidecar.process.memory, sidecar.roles.{role}.role
new = [sys.modules[name] for name in set(sys.modules) - before]
facts = [[m.__name__, hasattr(m, "__path__"), getattr(m, "__file__", "") or ""] for m in new]
print(json.dumps(facts))
"""


def _loaded(role: str) -> list[tuple[str, bool, str]]:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(role=role)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return [(name, is_package, file) for name, is_package, file in json.loads(run.stdout)]


@pytest.mark.parametrize("role", list(PACKAGES))
def test_a_role_loads_exactly_its_own_packages(role: str) -> None:
    loaded = _loaded(role)

    packages = {name for name, is_package, _ in loaded if is_package and _is_ours(name)}
    assert packages == PACKAGES[role]


@pytest.mark.parametrize("role", list(PACKAGES))
def test_a_role_loads_no_third_party_package_before_it_needs_it(role: str) -> None:
    site = Path(sysconfig.get_path("purelib"))

    found = {
        Path(file).relative_to(site).parts[0]
        for _, _, file in _loaded(role)
        if Path(file).is_relative_to(site)
    }
    assert found == THIRD_PARTY


_FORWARDING = """
import sys
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.roles.pod.role import PodRole
from sidecar.roles.pod.settings import parse_pod_settings
import asyncio, json

async def main():
    role = PodRole(parse_pod_settings(["--target", "http://:1/metrics"], {}))
    before = set(sys.modules)
    where = {"host": "localhost", "port": 1, "path": "/write"}
    access = {"name": "a", "patterns": ["a"], "namespaces": ["shop"]}
    rule = {"access": access, "intervalSeconds": 5, "receivers": [where]}
    role._apply(parse_pod_policy({"forward": {"rules": [rule]}}))
    print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))

asyncio.run(main())
"""


def test_forwarding_is_loaded_when_a_policy_first_sends() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FORWARDING], capture_output=True, text=True, timeout=30, check=True
    )
    before, after = json.loads(run.stdout)

    for name in ("sidecar.forward", "sidecar.model.remote_write", "cramjam", "snappy"):
        assert name not in before
    assert "sidecar.forward.pod" in after
    assert "cramjam" in after
    assert "sidecar.gateway" not in after
    assert "sidecar.forward.collector" not in after


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in ("sidecar", "injector", "webhook_certs")
