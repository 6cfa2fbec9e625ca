from sidecar.http.peers import PeerShares


def _shares(limit: int, *peers: str) -> PeerShares[int]:
    shares: PeerShares[int] = PeerShares(limit)
    for item, peer in enumerate(peers):
        shares.add(item, peer)
    return shares


def test_it_is_full_at_its_limit() -> None:
    shares = _shares(2, "a")
    assert not shares.is_full
    shares.add(1, "b")

    assert shares.is_full
    assert list(shares) == [0, 1]


def test_the_oldest_idle_one_of_the_client_with_most_makes_room() -> None:
    shares = _shares(5, "a", "b", "b", "b", "a")

    assert shares.victim(lambda item: item != 1, "c") == 2


def test_a_busy_one_goes_only_where_its_client_has_two_more_than_the_newcomers() -> None:
    shares = _shares(4, "a", "a", "a", "b")

    assert shares.victim(lambda _: False, "c") == 0
    assert shares.victim(lambda _: False, "b") == 0
    assert shares.victim(lambda _: False, "a") is None


def test_with_equal_shares_a_newcomer_waits() -> None:
    assert _shares(2, "a", "b").victim(lambda _: False, "c") is None


def test_what_has_gone_counts_no_more() -> None:
    shares = _shares(3, "a", "a", "b")
    shares.discard(0)
    shares.discard(0)
    shares.discard(99)

    assert len(shares) == 2
    assert shares.victim(lambda _: True, "c") == 1


def test_it_is_the_turn_of_the_oldest_of_the_client_that_is_served_least() -> None:
    served = _shares(9, "a", "a", "b")

    assert _shares(9, "a", "b", "c", "c").next_of(served) == 2
    assert _shares(9, "a", "b", "b").next_of(served) == 1
