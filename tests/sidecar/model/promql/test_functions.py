from sidecar.model.promql.functions import ABSENCES, FUNCTIONS, OF_SELECTORS, REFUSED
from tests.real_parts.oracle import Oracle


def test_every_function_is_known_to_prometheus(oracle: Oracle) -> None:
    answers = oracle.queries(f"{name}()" for name in sorted(FUNCTIONS))

    assert not [answer for answer in answers if "unknown function" in answer.error]


def test_no_function_has_two_roles() -> None:
    groups = (OF_SELECTORS, ABSENCES, REFUSED)

    assert sum(map(len, groups)) == len(frozenset().union(*groups))
    assert all(group <= FUNCTIONS for group in groups)


def test_what_reads_series_that_nobody_names_is_refused() -> None:
    assert "info" in REFUSED
