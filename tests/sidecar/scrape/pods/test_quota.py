from sidecar.scrape.pods.quota import SamplesQuota


def test_within_the_bound_nobody_is_left_out() -> None:
    quota = SamplesQuota(100)

    assert quota.take(0, "shop", 60) == []
    assert quota.take(1, "bank", 40) == []


def test_the_largest_of_the_largest_namespace_is_left_out() -> None:
    quota = SamplesQuota(100)
    quota.take(0, "shop", 20)
    for index in range(1, 9):
        quota.take(index, "evil", 10)

    assert quota.take(9, "evil", 11) == [9]
    assert quota.take(10, "shop", 5) == [1]


def test_one_that_is_larger_than_all_may_be_is_left_out_itself() -> None:
    assert SamplesQuota(100).take(7, "shop", 101) == [7]


def test_the_bound_is_in_the_reason() -> None:
    assert "more than 100 samples from all targets" in str(SamplesQuota(100).refusal)
