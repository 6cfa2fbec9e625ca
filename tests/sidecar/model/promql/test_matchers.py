import pytest

from sidecar.errors import RuleError
from sidecar.model.promql.matchers import Condition, MatchOp, make_matcher


@pytest.mark.parametrize(
    ("op", "value", "given", "is_match"),
    [
        ("=", "a", "a", True), ("=", "a", "b", False), ("!=", "a", "b", True),
        ("=~", "a|b", "b", True), ("=~", "a|b", "ab", False), ("!~", "a.*", "abc", False),
        ("!~", "a.*", "", True), ("=~", "", "", True),
    ],
)  # fmt: skip
def test_a_condition_decides_as_prometheus_does(
    op: str, value: str, given: str, is_match: bool
) -> None:
    assert Condition("job", op, value).compile().matches(given) is is_match


def test_a_pattern_that_is_not_re2_is_refused() -> None:
    with pytest.raises(RuleError, match="RE2"):
        make_matcher(MatchOp.REGEX, "a", "(")
