import pytest

from sidecar.auth import rates
from sidecar.auth.rates import TokenBuckets


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_as_many_as_come_back() -> None:
    clock = _Clock()
    buckets: TokenBuckets[str] = TokenBuckets(2, 0.5, clock)

    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    clock.now = 2.0
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    clock.now = 1000.0
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]


def test_each_client_has_a_bucket_of_its_own() -> None:
    buckets: TokenBuckets[str] = TokenBuckets(1, 0.0, _Clock())

    assert buckets.take("a")
    assert buckets.take("b")
    assert not buckets.take("a")


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_KEYS", 2)
    buckets: TokenBuckets[int] = TokenBuckets(1, 0.0, _Clock())

    assert all(buckets.take(number) for number in range(3))
    assert not buckets.take(2)
    assert buckets.take(0)
