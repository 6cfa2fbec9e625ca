import re

import pytest

from injector.model.access.reasons import ReadyReason

_is_reason = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?").fullmatch


@pytest.mark.parametrize("reason", ReadyReason)
def test_a_reason_is_one_that_kubernetes_takes(reason: ReadyReason) -> None:
    assert _is_reason(str(reason))
    assert len(reason.sentence) > 20
