import math

import pytest

from sidecar.model.promql.parser import parse_query
from sidecar.model.promql.spans import span_seconds


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("1", 0),
        ("up", 0),
        ("up offset 1w", 0),
        ("rate(up[5m])", 300),
        ("rate(up[1h]) / rate(down[2h])", 7200),
        ("max_over_time(rate(up[5m])[1h:1m])", 3900),
        ("sum by (a) (-(max_over_time((rate(up[60]))[1h:])))", 3660),
        ("topk(scalar(rate(up[1h])), down)", 3600),
        ("rate(up[5m + 5m])", math.inf),
    ],
)
def test_a_query_reaches_back_as_far_as_its_ranges_add_up(query: str, seconds: float) -> None:
    assert span_seconds(parse_query(query)) == seconds
