from sidecar.scrape.pods.settings import OnConflict, PodsLimits, PodsSettings


def test_every_series_gets_its_namespace_and_pod() -> None:
    assert PodsSettings().identity == ("namespace", "pod")


def test_what_prometheus_and_ours_name_is_moved() -> None:
    assert PodsSettings().moved == {"job", "instance", "namespace", "pod"}


def test_each_way_out_of_a_conflict_has_a_sentence() -> None:
    assert all(item.sentence for item in OnConflict)


def test_one_target_may_have_less_than_all_together() -> None:
    limits = PodsLimits()

    assert limits.target.samples < limits.samples
    assert limits.target_bytes < limits.waiting_bytes
