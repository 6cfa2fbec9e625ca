import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RuleError
from sidecar.model.labels.regex import MAX_PATTERN_LENGTH, compile_regex, expand
from tests.real_parts.oracle import Oracle

_TAKEN = [
    "", "a|b", "(?i)k", "(?P<n>a)(?P<n>b)", "[[:alpha:]]+", r"\pN", r"\p{Greek}", r"\PL",
    r"\Qa.b\E", r"a\z", "(?U)a+",
    "(?P<n>a)", "(?<n>a)", "(?s).", "(?m)^a$", "a{1000}", "a{2,}", "a{,2}", r"\x{20AC}",
    r"\bа\b",
    "a)|(?:b", "(a|b)*?", r"\d+\.\w", "[^a]", r"\A", "(?-s).", "(?i:A)b", r"\123", r"\Q[\E",
    r"\\C", r"\Q\C\E",
]  # fmt: skip
_REFUSED = [
    "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1", "a++", "(?>a)", "(?x)a", r"a\Z", "a{1001}", "(",
    ")", "[", "a**", "*", r"\C", r"a\Cb", r"(\C)", r"\q", r"\Q[", r"\Qa\E\C", "(?P=n)", r"[b-a]",
    r"\p{Klingon}", "(a{1000}){1000}", "(?P<é>a)", r"\8", "(?P<1-2>a)", "a{2}{3}",
]  # fmt: skip
_PIECES = [
    "a", "b", ".", "*", "+", "?", "(", ")", "(?:", "[", "]", "^", "$", "|", r"\d", r"\C", r"\Q",
    r"\E", "{2}", "{1001}", "(?i)", "(?P<n>", r"\\", r"\z", r"\Z", r"\p{L}", "[[:alpha:]]",
    "é", "\n", "-", ",", "(?s)", "(?U)", r"\b", r"\1", "(?=", "K", "\\", "{", "}", "1",
]  # fmt: skip


def _go_takes(pattern: str, oracle: Oracle) -> bool:
    return oracle.ask({"op": "regexp", "pattern": pattern, "value": ""})["error"] is None


def _is_taken(pattern: str) -> bool:
    try:
        compile_regex(pattern)
    except RuleError:
        return False
    return True


@pytest.mark.parametrize("pattern", _TAKEN)
def test_re2_syntax_is_taken_as_go_takes_it(pattern: str, oracle: Oracle) -> None:
    assert _go_takes(pattern, oracle)
    assert _is_taken(pattern)


@pytest.mark.parametrize("pattern", _REFUSED)
def test_what_go_refuses_is_refused(pattern: str, oracle: Oracle) -> None:
    assert not _go_takes(pattern, oracle)
    assert not _is_taken(pattern)


@given(
    pieces=st.lists(st.sampled_from(_PIECES), max_size=6),
    values=st.lists(st.text("abABkK\u212aéÉ\n1\\-", max_size=4), max_size=4),
)
def test_any_pattern_matches_what_it_matches_in_go(
    pieces: list[str], values: list[str], oracle: Oracle
) -> None:
    pattern = "".join(pieces)
    assert _is_taken(pattern) is _go_takes(pattern, oracle)
    if _is_taken(pattern):
        asked = [{"op": "regexp", "pattern": pattern, "value": value} for value in values]
        told = [answer["match"] for answer in oracle.ask_many(asked)]
        assert [compile_regex(pattern).matches(value) for value in values] == told


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("a", "ba", False),
        ("a", "a\n", False),
        ("a.b", "a\nb", True),
        ("a|ab", "ab", True),
        (r"\d", "١", False),
        (r"\w", "é", False),
        ("(?i)k", "\u212a", True),
        ("", "", True),
    ],
)
def test_a_pattern_is_anchored_and_ascii(pattern: str, text: str, is_match: bool) -> None:
    assert compile_regex(pattern).matches(text) is is_match


def test_the_message_of_a_bad_pattern_quotes_it_and_says_why() -> None:
    with pytest.raises(RuleError, match=r"'a\{1001\}' is not a valid RE2 pattern: .*repetition"):
        compile_regex("a{1001}")


def test_a_pattern_is_bounded() -> None:
    compile_regex("a" * MAX_PATTERN_LENGTH)
    with pytest.raises(RuleError, match="a pattern of 4097 characters; 4096 allowed"):
        compile_regex("a" * (MAX_PATTERN_LENGTH + 1))


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(RuleError):
        compile_regex("\ud800")


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("$1", "x"),
        ("${1}", "x"),
        ("$1_x", ""),
        ("${1}_x", "x_x"),
        ("$1-x", "x-x"),
        ("$0", "x-y"),
        ("$$", "$"),
        ("$$1", "$1"),
        ("$", "$"),
        ("a$", "a$"),
        ("${", "${"),
        ("${}", "${}"),
        ("${1", "${1"),
        ("$3", ""),
        ("${01}", ""),
        (r"\1", r"\1"),
        ("$n", "y"),
        ("${n}", "y"),
        ("$né", ""),
        ("$1$2", "xy"),
        ("$100000000", ""),
        ("$999999999999999999999", ""),
        ("$-", "$-"),
    ],
)
def test_a_template_is_filled_as_in_go(template: str, filled: str) -> None:
    regex = compile_regex("(x)-(?P<n>y)")
    match = regex.find("x-y")

    assert match is not None
    assert expand(template, match, regex) == filled
