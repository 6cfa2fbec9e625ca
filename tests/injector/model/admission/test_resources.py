from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from injector.model.admission.quantities import parse_quantity
from injector.model.admission.resources import Allotment, allot_resources

Json = dict[str, Any]
_DEFAULT = {"cpu": ("10m", "500m"), "memory": ("48Mi", "128Mi")}
_FULL = {"limits": {"cpu": "1", "memory": "1Gi"}}


def _allot(
    annotations: dict[str, str] | None = None, *limits: Json, spec: Json | None = None
) -> Allotment:
    pod = {"spec": {"containers": [{"name": "a"}], **(spec or {})}}
    given = {f"livery.dev/{key}": value for key, value in (annotations or {}).items()}
    return allot_resources(pod, given, [{"spec": {"limits": list(limits)}}])


def _pairs(allotment: Allotment) -> dict[str, tuple[str, str]]:
    found = allotment.resources
    assert found is not None
    return {name: (found["requests"][name], found["limits"][name]) for name in ("cpu", "memory")}


def _container(**item: Json) -> Json:
    return {"type": "Container", **item}


def test_the_defaults_hold_without_a_word() -> None:
    assert _allot() == Allotment(_allot().resources, ())
    assert _pairs(_allot()) == _DEFAULT


@pytest.mark.parametrize(
    ("annotations", "changed"),
    [
        ({"cpu-request": "20m"}, {"cpu": ("20m", "500m")}),
        ({"cpu-limit": "1"}, {"cpu": ("10m", "1")}),
        ({"cpu-limit": "5m"}, {"cpu": ("5m", "5m")}),
        ({"cpu-request": "2"}, {"cpu": ("2", "2")}),
        ({"memory-request": "64Mi"}, {"memory": ("64Mi", "128Mi")}),
        ({"memory-limit": "1Gi"}, {"memory": ("48Mi", "1Gi")}),
        ({"cpu-request": "1", "memory-limit": "2Gi"},
         {"cpu": ("1", "1"), "memory": ("48Mi", "2Gi")}),
    ],
    ids=str,
)  # fmt: skip
def test_one_annotation_drops_no_other_default(
    annotations: dict[str, str], changed: dict[str, tuple[str, str]]
) -> None:
    allotment = _allot(annotations)

    assert _pairs(allotment) == {**_DEFAULT, **changed}
    assert allotment.warnings == ()


@pytest.mark.parametrize("value", ["", "much", "-1", "0", "1 Gi", "9" * 500, "²", "1\n"])
@pytest.mark.parametrize("key", ["cpu-request", "cpu-limit", "memory-request", "memory-limit"])
def test_a_bad_quantity_keeps_the_default_and_warns(key: str, value: str) -> None:
    allotment = _allot({key: value})

    assert _pairs(allotment) == _DEFAULT
    assert [f"livery.dev/{key}" in warning.text for warning in allotment.warnings] == [True]


def test_pod_level_resources_leave_the_proxy_without() -> None:
    assert _allot(spec={"resources": {"limits": {"cpu": "1"}}}) == Allotment(None, ())


@pytest.mark.parametrize(
    ("spec", "is_guaranteed"),
    [
        ({"containers": [{"resources": _FULL}]}, True),
        ({"containers": [{"resources": {**_FULL, "requests": {"cpu": "1000m"}}}]}, True),
        ({"containers": [{"resources": {**_FULL, "requests": {"cpu": "1m"}}}]}, False),
        ({"containers": [{"resources": _FULL}, {}]}, False),
        ({"containers": [{"resources": _FULL}], "initContainers": [{}]}, False),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, False),
        ({"containers": [{"resources": {"limits": {"cpu": "0", "memory": "0"}}}]}, False),
    ],
    ids=str,
)
def test_a_guaranteed_pod_stays_guaranteed(spec: Json, is_guaranteed: bool) -> None:
    resources = _allot(spec=spec).resources

    assert resources is not None
    assert (resources["requests"] == resources["limits"]) is is_guaranteed


@pytest.mark.parametrize(
    ("limits", "changed"),
    [
        ([_container(max={"cpu": "200m"})], {"cpu": ("10m", "200m")}),
        ([_container(max={"cpu": "5m"})], {"cpu": ("5m", "5m")}),
        ([_container(min={"memory": "1Gi"})], {"memory": ("1Gi", "1Gi")}),
        ([_container(min={"cpu": "20m"}, max={"cpu": "30m"})], {"cpu": ("20m", "30m")}),
        ([_container(maxLimitRequestRatio={"cpu": "10"})], {"cpu": ("50m", "500m")}),
        ([_container(maxLimitRequestRatio={"memory": 1})], {"memory": ("128Mi", "128Mi")}),
        ([_container(max={"cpu": "1"}), _container(max={"cpu": "100m"})], {"cpu": ("10m", "100m")}),
    ],
    ids=str,
)
def test_limit_ranges_clamp_with_a_warning(
    limits: list[Json], changed: dict[str, tuple[str, str]]
) -> None:
    allotment = _allot({}, *limits)

    assert _pairs(allotment) == {**_DEFAULT, **changed}
    assert [warning.code for warning in allotment.warnings] == ["clamped"]


@pytest.mark.parametrize(
    "item",
    [
        _container(default={"cpu": "1"}),
        {"type": "PersistentVolumeClaim", "max": {"cpu": "1m"}},
        {"type": "Pod", "max": {"cpu": "500m", "memory": "128Mi"}},
        {},
    ],
    ids=str,
)
def test_limit_ranges_that_the_proxy_fits_change_nothing(item: Json) -> None:
    assert _allot({}, item) == _allot()


@pytest.mark.parametrize(
    ("item", "spec"),
    [
        (_container(min={"cpu": "2"}, max={"cpu": "1"}), {}),
        (_container(maxLimitRequestRatio={"cpu": "0.5"}), {}),
        ({"type": "Pod", "max": {"cpu": "499m"}}, {}),
        ({"type": "Pod", "min": {"memory": "256Mi"}}, {}),
        (
            _container(defaultRequest={"cpu": "50m"}),
            {"resources": {"limits": {"memory": "1Gi"}}},
        ),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {"containers": [{"resources": _FULL}]}),
        ({"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}}, {}),
        (
            {"type": "Pod", "max": {"memory": "1Gi"}},
            {"initContainers": [{"restartPolicy": "Always", "resources": _FULL}]},
        ),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {"initContainers": [{"resources": _FULL}]}),
    ],
    ids=str,
)
def test_impossible_limit_ranges_give_nothing(item: Json, spec: Json) -> None:
    allotment = _allot({}, item, spec=spec)

    assert allotment.resources is None
    assert not allotment.is_possible


_CPU = st.sampled_from(["1m", "10m", "200m", "1", "4"])
_BOUNDS = st.fixed_dictionaries(
    {"type": st.just("Container")},
    optional={
        "min": st.fixed_dictionaries({"cpu": _CPU}),
        "max": st.fixed_dictionaries({"cpu": _CPU}),
        "maxLimitRequestRatio": st.fixed_dictionaries({"cpu": st.sampled_from(["1", "1.5", "7"])}),
    },
)


def _number(text: str) -> Fraction:
    value = parse_quantity(text)
    assert value is not None
    return value


@given(
    st.lists(_BOUNDS, max_size=3),
    st.fixed_dictionaries({}, optional={"cpu-request": _CPU, "cpu-limit": _CPU}),
)
def test_what_is_allotted_satisfies_every_limit_range(
    items: list[Json], annotations: dict[str, str]
) -> None:
    allotment = _allot(annotations, *items)
    assume(allotment.resources is not None)
    request, limit = map(_number, _pairs(allotment)["cpu"])
    assert request <= limit
    for item in items:
        assert "min" not in item or request >= _number(item["min"]["cpu"])
        assert "max" not in item or limit <= _number(item["max"]["cpu"])
        ratio = item.get("maxLimitRequestRatio", {"cpu": "1e9"})["cpu"]
        assert limit <= request * _number(ratio)


@pytest.mark.parametrize(
    ("key", "value"),
    [("memory-limit", "128m"), ("memory-limit", "64"), ("cpu-request", "1e30")],
    ids=str,
)
def test_a_quantity_that_nobody_can_mean_keeps_the_default_and_warns(key: str, value: str) -> None:
    allotment = _allot({key: value})

    assert _pairs(allotment) == _DEFAULT
    assert [warning.code for warning in allotment.warnings] == ["bad-quantity"]


@pytest.mark.parametrize(
    ("item", "amount"),
    [
        ({"maxLimitRequestRatio": {"ephemeral-storage": "1"}}, "64Mi"),
        ({"min": {"ephemeral-storage": "1Gi"}}, "1Gi"),
        ({"max": {"ephemeral-storage": "10Mi"}}, "10Mi"),
        ({"defaultRequest": {"ephemeral-storage": "2Gi"}}, "64Mi"),
    ],
    ids=str,
)
def test_of_ephemeral_storage_only_what_a_limit_range_asks_for_is_said(
    item: Json, amount: str
) -> None:
    for spec in ({}, {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}):
        allotment = _allot({}, _container(**item), spec=spec)

        assert allotment.resources is not None
        assert allotment.is_possible
        assert allotment.resources["requests"]["ephemeral-storage"] == amount
        assert allotment.resources["limits"]["ephemeral-storage"] == amount


@pytest.mark.parametrize(
    ("item", "is_possible"),
    [
        ({"default": {"example.com/gpu": "1"}}, True),
        ({"max": {"example.com/gpu": "4"}}, True),
        ({"min": {"example.com/gpu": "1"}}, False),
        ({"maxLimitRequestRatio": {"hugepages-2Mi": "1"}}, False),
        ({"min": {"ephemeral-storage": "2Gi"}, "max": {"ephemeral-storage": "1Gi"}}, False),
        ({"max": {"ephemeral-storage": "0"}, "maxLimitRequestRatio": {"ephemeral-storage": "1"}},
         False),
        ({"maxLimitRequestRatio": {"ephemeral-storage": "0.5"}}, False),
    ],
    ids=str,
)  # fmt: skip
def test_the_proxy_takes_no_device_and_says_so_where_it_must(item: Json, is_possible: bool) -> None:
    allotment = _allot({}, _container(**item))

    assert allotment.is_possible is is_possible
    if is_possible:
        assert allotment.resources is not None
        assert allotment.resources["limits"]["example.com/gpu"] == "0"


def test_what_a_pod_entry_alone_names_is_not_said() -> None:
    pod = {"type": "Pod", "max": {"ephemeral-storage": "1Mi"}, "min": {"ephemeral-storage": "1"}}
    allotment = _allot({}, pod)

    assert (_pairs(allotment), allotment.is_possible) == (_DEFAULT, True)
    both = _allot({}, pod, _container(default={"ephemeral-storage": "1Mi"}))
    assert not both.is_possible
