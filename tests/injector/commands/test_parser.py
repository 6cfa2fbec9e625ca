import pytest

from tests.injector.conftest import Livery


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("explian", "pod"), "explain"),
        (("explain", "pods", "web-0"), "pod"),
        (("explain", "pod", "--fielname", "x"), "--filename"),
        (("doctor", "-o", "jsn"), "json"),
    ],
    ids=["command", "kind", "option", "value"],
)
def test_the_nearest_name_is_proposed(
    livery: Livery, arguments: tuple[str, ...], meant: str
) -> None:
    ran = livery(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert f"; did you mean {meant}? See livery" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_nothing_is_proposed_where_nothing_is_near(livery: Livery) -> None:
    ran = livery("explain", "zzzzzz")

    assert ran.code == 2
    assert "did you mean" not in ran.err
    assert "See livery explain --help" in ran.err
