import pytest

from sidecar.errors import RuleError
from sidecar.model.policy.secret import Credential, parse_credential


def test_a_credential_shows_its_text_nowhere() -> None:
    found = parse_credential({"value": "geheim", "revision": "1"}, "credential")

    assert found.text == "geheim"
    assert "geheim" not in f"{found!r} {found} {[found]}"


@pytest.mark.parametrize("value", [{}, {"value": 5}, {"value": "x" * 300_000}, None])
def test_what_is_none_is_named_and_not_shown(value: object) -> None:
    with pytest.raises(RuleError, match="credential: a string of up to") as caught:
        parse_credential(value, "credential")

    assert "xxx" not in str(caught.value)


def test_equal_texts_are_equal_credentials() -> None:
    assert Credential("a") == Credential("a")
    assert Credential("a") != Credential("b")
