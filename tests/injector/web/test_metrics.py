"""The injector's own metrics."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from injector.model.admission.troubles import Trouble
from injector.web.metrics import InjectorMetrics
from sidecar import VERSION


def _samples(metrics: InjectorMetrics) -> dict[tuple[str, str], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_family_is_ours_or_the_processs_and_has_help() -> None:
    families = list(InjectorMetrics().registry.collect())

    assert {family.name.partition("_")[0] for family in families} == {"livery", "process"}
    assert [family.name for family in families if not family.documentation.endswith(".")] == []


def test_a_counter_is_one_series() -> None:
    metrics = InjectorMetrics()
    metrics.refused.labels("401").inc()
    names = {name for name, _ in _samples(metrics)}

    assert "livery_control_refused_total" in names
    assert not any(name.endswith("_created") for name in names)


def test_the_version_is_shown() -> None:
    assert _samples(InjectorMetrics())["livery_build_info", VERSION] == 1


def test_a_namespace_that_lacks_nothing_any_more_is_not_shown() -> None:
    metrics = InjectorMetrics()
    metrics.show_troubles({Trouble.MISSING: {"shop": 2, "bank": 1}})
    metrics.show_troubles({Trouble.MISSING: {"shop": 0}, Trouble.CUT_OFF: {"shop": 4}})
    shown = {
        (name, label): value
        for (name, label), value in _samples(metrics).items()
        if name.startswith("livery_pods_")
    }

    assert shown == {
        ("livery_pods_missing_proxy", "shop"): 0,
        ("livery_pods_cut_off", "shop"): 4,
    }


def test_each_injector_of_a_process_counts_for_itself() -> None:
    first, second = InjectorMetrics(), InjectorMetrics()
    first.reports.inc()

    assert _samples(first)["livery_proxy_reports_total", ""] == 1
    assert _samples(second)["livery_proxy_reports_total", ""] == 0
