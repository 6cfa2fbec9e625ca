import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.promql.lexer import describe, explain_bad, find_position, tokenize


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Sum BY (a)", ["sum", "by", "(", "word", ")"]),
        ("a:b{c='d'}", ["colons", "{", "word", "=", "string", "}"]),
        ("a[5m:step()]", ["word", "[", "duration", ":", "step", "(", ")", "]"]),
        ("a[1m:a:b]", ["word", "[", "duration", ":", "word", ":", "word", "]"]),
        ("fill + fill (1)", ["word", "+", "fill", "(", "number", ")"]),
        ("Inf nan 0x1f .5 1e3 5m 1h30m", [*["number"] * 5, *["duration"] * 2]),
        ("a # by\n-b", ["word", "-", "word"]),
        ("5x .", ["bad", "bad"]),
        ("5m5h", ["bad"]),
        ("'a", ["bad", "word"]),
        ("é", ["bad"]),
        ('"\ufffd"', ["bad", "bad", "bad"]),
        ("a\x0bb", ["word", "bad", "word"]),
        ("", []),
    ],
)
def test_a_text_is_divided_as_prometheus_divides_it(text: str, kinds: list[str]) -> None:
    assert tokenize(text).kinds == [*kinds, "eof"]


@given(st.text(alphabet="ab{}[]():=~!<>+-*/%^@,.059mseE_x \n#\"'`é\\", max_size=40))
def test_nothing_of_a_text_is_passed_over_but_blanks_and_comments(text: str) -> None:
    texts = tokenize(text).texts

    places = [find_position(text, texts, index) for index in range(len(texts))]
    assert all(text.startswith(found, at) for found, at in zip(texts, places, strict=True))
    end = 0
    for found, at in zip(texts, places, strict=True):
        skipped = text[end:at]
        assert not skipped.strip() or "#" in skipped
        end = at + len(found)
    assert texts[-1] == ""


def test_a_hostile_text_is_divided_in_linear_time() -> None:
    for text in ("(" * 16_000, "#" * 16_000, "1" * 16_000, '"' + "\\" * 16_000, "a[" * 8000):
        assert tokenize(text).kinds[-1] == "eof"


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("eof", "", "end of input"), ("word", "up", 'identifier "up"'),
        ("sum", "SUM", "<aggr:sum>"),
        ("and", "and", "<op:and>"), ("by", "by", "<by>"), (")", ")", '")"'),
        ("string", '"' + "a" * 20, 'string "\\"aaaaaaaaa..."'),
    ],
)  # fmt: skip
def test_a_token_is_named_in_prometheus_words(kind: str, text: str, shown: str) -> None:
    assert describe(kind, text) == shown


def test_what_is_no_token_is_explained() -> None:
    assert explain_bad("'a").startswith("unterminated quoted string")
    assert explain_bad("5x") == 'bad number or duration syntax: "5x"'
    assert explain_bad("é") == "unexpected character: 'é'"
