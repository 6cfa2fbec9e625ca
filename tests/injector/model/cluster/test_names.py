"""Livery's own names."""

import pytest

from injector.model.cluster import names

_OWN = [
    value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and "/" in value and not value.startswith("/")
] + [*names.RESOURCES.values()]


def test_every_key_is_in_our_domain_and_means_one_thing() -> None:
    domains = {key.partition("/")[0] for key in _OWN if key != names.MIRROR_POD}

    assert domains == {"livery.dev"}
    assert len(set(_OWN)) == len(_OWN) > 15


@pytest.mark.parametrize(
    "key", ["prometheus.io/scrape", "prometheus_io_port", "prometheus-io/path"]
)
def test_every_spelling_in_use_is_one_of_prometheus(key: str) -> None:
    assert names.SCRAPE_SPELLING.fullmatch(key)


@pytest.mark.parametrize(
    "key",
    ["prometheus.io/scrape_slow", "prometheusXio/scrape", "my.prometheus.io/port", names.PORT],
)
def test_another_key_is_none(key: str) -> None:
    assert names.SCRAPE_SPELLING.fullmatch(key) is None
