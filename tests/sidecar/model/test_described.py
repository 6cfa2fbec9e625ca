import copy
import json

from sidecar.model.described import Described


class _Reason(Described):
    TOO_LARGE = "too-large", "the answer is larger than the limit"
    REFUSED = "refused", "the token was refused"


def test_a_member_is_its_code_wherever_it_is_written() -> None:
    assert (f"{_Reason.REFUSED}", _Reason.REFUSED.value) == ("refused", "refused")
    assert json.dumps({"reason": _Reason.REFUSED}) == '{"reason": "refused"}'
    assert {_Reason.REFUSED: 1} == {"refused": 1}


def test_a_member_has_its_own_sentence() -> None:
    assert [reason.sentence for reason in _Reason] == [
        "the answer is larger than the limit", "the token was refused",
    ]  # fmt: skip


def test_a_copied_member_is_the_same_member() -> None:
    assert copy.deepcopy(_Reason.REFUSED) is _Reason.REFUSED
