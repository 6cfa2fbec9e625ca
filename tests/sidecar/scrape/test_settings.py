from sidecar.scrape.settings import ScrapeLimits


def test_what_one_target_may_send_fits_into_a_scrape() -> None:
    limits = ScrapeLimits()

    assert limits.target_bytes <= limits.scrape_bytes
    assert limits.scrape_bytes <= limits.answer_bytes


def test_a_target_caches_no_more_than_all_targets_together_may() -> None:
    limits = ScrapeLimits()

    assert limits.target.cache_bytes <= limits.cache_bytes
