import json

import pytest

from tests.injector.conftest import Livery

_SHOP = """\
kind: Namespace
metadata:
  name: shop
  labels:
    team: frontend
    cost-center: "4711"
    livery.dev/inject: enabled
    app.kubernetes.io/name: shop
    job: web
"""


def test_each_label_says_what_becomes_of_it(livery: Livery) -> None:
    ran = livery("explain", "namespace", "shop", "-f", "-", stdin=_SHOP)

    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "Namespace shop",
        "  injects: new pods go to the webhook",
        "  labels on the series of its pods:",
        '    cost_center="4711" from cost-center',
        '    team="frontend" from team',
        "    app.kubernetes.io/name: not copied (labels.exclude)",
        "    job: not copied: the name belongs to Prometheus",
        "    livery.dev/inject: not copied (labels.exclude)",
    ]


def test_a_namespace_that_does_not_inject_gets_the_command(livery: Livery) -> None:
    text = _SHOP.replace("    livery.dev/inject: enabled\n", "")

    ran = livery("explain", "namespace", "shop", "-f", "-", stdin=text)

    assert ran.code == 1
    assert ran.out.splitlines()[1:3] == [
        "  does not inject: it lacks livery.dev/inject=enabled",
        "    kubectl label namespace shop livery.dev/inject=enabled",
    ]


def test_a_program_gets_a_document(livery: Livery) -> None:
    ran = livery("explain", "namespace", "shop", "-f", "-", "-o", "json", stdin=_SHOP)

    facts = json.loads(ran.out)
    assert facts["injects"] is True
    assert [item["name"] for item in facts["labels"] if item["fate"] == "added"] == [
        "cost_center",
        "team",
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("bank", "-f", "-"), "there is no namespace bank in the files"),
        (("shop", "-f", "-", "-n", "bank"), "-n bank contradicts shop: leave it out"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    livery: Livery, arguments: tuple[str, ...], reason: str
) -> None:
    ran = livery("explain", "namespace", *arguments, stdin=_SHOP)

    assert (ran.code, ran.out, ran.err) == (2, "", f"livery: {reason}\n")
