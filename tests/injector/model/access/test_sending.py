from injector.model.access.sending import SendingFacts, SendingReport, gather_sending

_ONE = SendingReport("shop", "front", 100, 1, 2, 3, 1.5, 1000.0, "", 10, ("a", "b"))


def test_reports_of_one_object_are_summed_up() -> None:
    other = _ONE._replace(lag_seconds=9.0, last_sent_at=900.0, error="it is away", unmatched=("b",))
    found = gather_sending([_ONE, other, _ONE._replace(rule="back"), _ONE._replace(namespace="b")])

    assert set(found) == {("shop", "front"), ("shop", "back"), ("b", "front")}
    assert found["shop", "front"] == SendingFacts(
        senders=2, series=20, sent=200, failed=2, dropped=4, waiting=6, lag_seconds=9.0,
        last_sent_at=1000.0, error="it is away", unmatched=("b",),
    )  # fmt: skip


def test_a_pattern_that_one_proxy_has_series_for_is_supplied() -> None:
    (facts,) = gather_sending([_ONE, _ONE._replace(unmatched=())]).values()

    assert facts.unmatched == ()
