import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.real_parts.oracle import Oracle
from tests.real_parts.presence import have

# Fixtures with a real API server, for tests/cluster and the mirrors of injector/kube.
pytest_plugins = ["tests.cluster.fixtures"]

# Needs a cluster and a program that builds images for it: `make e2e`.
collect_ignore = [] if os.environ.get("E2E_BUILD_IMAGE") else ["e2e"]

settings.register_profile("default", deadline=None, print_blob=True, max_examples=100)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=20_000)
# The same examples on every run: CI's result depends on the change, not on luck.
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=100, derandomize=True)
# For a second Python version, where the examples have already run on the first.
settings.register_profile(
    "short", deadline=None, print_blob=True, max_examples=20, derandomize=True
)
_USUAL = "ci" if os.environ.get("CI") == "true" else "default"
settings.load_profile(os.environ.get("LIVERY_HYPOTHESIS_PROFILE", _USUAL))  # `make soak`: long


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`; `git diff` then shows what a change does to pods."""
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines as the proxy does."""
    return "asyncio"


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """Prometheus's own parsers."""
    running = Oracle()
    have(running.__enter__)
    yield running
    running.__exit__(None, None, None)
