"""Questions about third parties' tokens, parsed or refused with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.control.identity import AccessAttributes
from injector.errors import RequestError
from injector.web.questions import MAX_TOKEN_CHARACTERS, read_question

_FIELDS = st.sampled_from([*AccessAttributes._fields, "token", "access", "who"])
_ACCESS = st.dictionaries(_FIELDS, st.text(max_size=3) | st.none())


@pytest.mark.parametrize(
    ("access", "read"),
    [
        (None, None),
        ({"verb": "get", "path": "/metrics"}, AccessAttributes("get", path="/metrics")),
        (
            {"verb": "get", "resource": "nodes", "subresource": "metrics", "path": ""},
            AccessAttributes("get", resource="nodes", subresource="metrics"),
        ),
    ],
)
def test_a_question_is_a_token_and_perhaps_what_is_to_be_done(
    access: object, read: AccessAttributes | None
) -> None:
    question = json.dumps({"token": "secret", "access": access})

    assert read_question(question.encode()) == ("secret", (), read)


def test_a_question_may_name_audiences() -> None:
    question = {"token": "secret", "audiences": ["b", "a", "b"]}

    assert read_question(json.dumps(question).encode()).audiences == ("a", "b")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "not JSON"),
        ("[" * 20_000, "not JSON"),
        ("[]", "the body must be an object"),
        ('{"token": "a", "more": 1}', "the body must be an object"),
        ('{"token": "a", "audiences": "x"}', "audiences: must be a list"),
        ('{"token": "a", "audiences": [""]}', "audiences: must be strings"),
        (
            json.dumps({"token": "a", "audiences": list("abcdefghi")}),
            "audiences: must be a list of at",
        ),
        ('{"token": "a", "audiences": ["x", "livery-control"]}', "is reserved for the injector"),
        ('{"token": ""}', "token: must be a string"),
        ('{"token": ["a"]}', "token: must be a string"),
        ('{"token": "a", "access": "get"}', "access: must be an object"),
        ('{"token": "a", "access": {"verb": 1}}', "access: must be an object"),
        ('{"token": "a", "access": {"verb": "get", "who": "me"}}', "access.who: unknown field"),
        ('{"token": "a", "access": {"path": "/metrics"}}', "must have a verb"),
        ('{"token": "a", "access": {"verb": "get"}}', "either a path or a resource"),
        (
            '{"token": "a", "access": {"verb": "get", "path": "/", "resource": "nodes"}}',
            "either a path or a resource",
        ),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_reason(question: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read_question(question.encode())
    assert caught.value.status == 400


def test_a_token_has_a_bound() -> None:
    longest = "x" * MAX_TOKEN_CHARACTERS

    assert read_question(json.dumps({"token": longest}).encode()).token == longest
    with pytest.raises(RequestError, match="token"):
        read_question(json.dumps({"token": f"{longest}x"}).encode())


@given(
    st.binary(max_size=20)
    | st.fixed_dictionaries({"token": st.text(), "access": _ACCESS}).map(
        lambda question: json.dumps(question).encode()
    )
)
def test_what_is_let_through_asks_for_a_path_or_a_resource(body: bytes) -> None:
    try:
        token, _, access = read_question(body)
    except RequestError:
        return
    assert token
    assert access is None or (access.verb and bool(access.path) != bool(access.resource))
