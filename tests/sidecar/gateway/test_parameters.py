import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gateway.parameters import (
    FORM,
    MAX_PARAMETERS,
    check_parameters,
    read_parameters,
    write_parameters,
)
from sidecar.gateway.refusals import Refusal
from sidecar.http.messages import Request


def _get(query: str, body: bytes = b"") -> Request:
    return Request("GET", "/", query, {}, "", body)


def _post(body: bytes, kind: str = FORM, query: str = "") -> Request:
    return Request("POST", "/", query, {"content-type": kind}, "", body)


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
def test_what_is_written_is_read_as_it_was(pairs: list[tuple[str, str]]) -> None:
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    text = write_parameters(pairs)

    assert read_parameters(_get(text)) == expected
    assert read_parameters(_post(text.encode())) == expected


def test_nothing_but_an_ampersand_divides_parameters() -> None:
    assert read_parameters(_get("query=a;query=b&x")) == {"query": ["a;query=b"], "x": [""]}


@pytest.mark.parametrize(
    "request_",
    [
        _post(b"query=a", query="query=b"), _post(b"query=a", kind="multipart/form-data"),
        _post(b"{}", kind="application/json"), _post(b"a=b", kind=f"{FORM}; charset=utf-16"),
        _get("query=a", body=b"query=b"), _get("a=%"), _get("a=%zz"), _get("a=%ff"),
        _get("%ff=a"), _get("&".join(["a=b"] * (MAX_PARAMETERS + 1))),
    ],
)  # fmt: skip
def test_what_two_readers_could_read_otherwise_is_refused(request_: Request) -> None:
    with pytest.raises(Refusal) as caught:
        read_parameters(request_)

    assert caught.value.status == 400


def test_a_form_may_name_its_charset() -> None:
    assert read_parameters(_post(b"a=b", kind=f"{FORM}; charset=UTF-8")) == {"a": ["b"]}


def test_unknown_and_doubled_parameters_are_refused() -> None:
    single, repeated = frozenset(["query"]), frozenset(["match[]"])
    check_parameters({"query": ["a"], "match[]": ["a", "b"]}, single, repeated)

    with pytest.raises(Refusal, match="'query' is given 2 times"):
        check_parameters({"query": ["a", "b"]}, single, repeated)
    with pytest.raises(Refusal, match="unknown parameter 'extra_filters'; known here: "):
        check_parameters({"extra_filters": ["a"]}, single, repeated)
