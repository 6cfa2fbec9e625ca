import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.real_parts.go import RealPartMissing
from tests.real_parts.oracle import Oracle

settings.register_profile("default", deadline=None, print_blob=True, max_examples=100)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=20_000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """Prometheus's own parsers."""
    running = Oracle()
    try:
        running.__enter__()
    except RealPartMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    yield running
    running.__exit__(None, None, None)
