import pytest

from injector.model.admission.exposition import read_exposition, render_arguments
from injector.platform.settings import Platform

_MIB = 1 << 20


@pytest.mark.parametrize(
    ("limits", "memory_mib"),
    [
        ({}, 128), ({"bytes": "20Mi"}, 208), ({"samples": "100000"}, 177),
        ({"samples": "10", "bytes": "1Mi"}, 128),
    ],
)  # fmt: skip
def test_the_memory_limit_follows_the_bounds(limits: dict[str, str], memory_mib: int) -> None:
    annotations = {f"livery.dev/{name}-limit": value for name, value in limits.items()}

    settings, warnings = read_exposition(annotations, Platform())

    assert (settings.extra_memory_bytes, warnings) == ((memory_mib - 128) * _MIB, [])


def test_the_platforms_bounds_hold_where_no_annotation_says_otherwise() -> None:
    platform = Platform(limits={"samples": 60_000, "labels": 1_024})
    annotations = {"livery.dev/labels-limit": "5"}

    settings, _ = read_exposition(annotations, platform)

    assert render_arguments(settings) == ["--samples-limit", "60000", "--labels-limit", "5"]
