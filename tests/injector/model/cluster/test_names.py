"""Livery's own names."""

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
