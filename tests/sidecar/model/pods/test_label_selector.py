import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import SettingsError
from sidecar.model.pods.label_selector import parse_label_selector


@pytest.mark.parametrize(
    ("text", "labels", "is_match"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "web"}, True),
        (" app = web ", {"app": "web"}, True),
        ("app=web", {"app": "api"}, False),
        ("app=web", {}, False),
        ("app=", {"app": ""}, True),
        ("app=,tier=b", {"app": "", "tier": "b"}, True),
        ("app!=web", {"app": "api"}, True),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("app", {"app": ""}, True),
        ("app", {}, False),
        ("!app", {}, True),
        ("! app", {}, True),
        ("!app", {"app": "x"}, False),
        ("app in (web,api)", {"app": "api"}, True),
        ("app in (web, api)", {"app": "db"}, False),
        ("app in ()", {"app": ""}, True),
        ("app in (,a)", {"app": ""}, True),
        ("app notin (web)", {"app": "db"}, True),
        ("app notin (web)", {}, True),
        ("app notin (web)", {"app": "web"}, False),
        ("v>3", {"v": "4"}, True),
        ("v>3", {"v": "3"}, False),
        ("v<3", {"v": "-1"}, True),
        ("v>3", {"v": "x"}, False),
        ("v>3", {}, False),
        ("app=web,tier in (a,b),!old", {"app": "web", "tier": "b"}, True),
        ("app=web,tier in (a,b),!old", {"app": "web", "tier": "b", "old": "1"}, False),
        ("app.kubernetes.io/name=web", {"app.kubernetes.io/name": "web"}, True),
        ("in in (in)", {"in": "in"}, True),
        ("notin", {"notin": ""}, True),
    ],
)
def test_a_selector_matches_as_in_kubernetes(
    text: str, labels: dict[str, str], is_match: bool
) -> None:
    assert parse_label_selector(text).matches(labels) is is_match


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("=web", 1),
        ("app=web,", 9),
        ("app=web tier=b", 9),
        ("app in web", 8),
        ("app in (a b)", 11),
        ("app in (a", 10),
        ("app=a,,b", 7),
        ("-app=web", 1),
        ("a/b/c=1", 1),
        ("A.b/c=1", 1),
        ("app=web!", 8),
        ("app=é", 5),
        ("app=" + "x" * 64, 5),
        ("v>x", 3),
        ("v>", 3),
        ("!", 2),
        ("app=a=b", 6),
        ("app ~ web", 5),
        ("(app)", 1),
    ],
)
def test_a_malformed_selector_names_the_character(text: str, at: int) -> None:
    with pytest.raises(SettingsError, match=rf"^label selector, character {at}: "):
        parse_label_selector(text)


def test_a_selector_without_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="more than 16384 characters"):
        parse_label_selector("a," * 10_000)


@given(text=st.text(alphabet="ab=!,() <>in/.-", max_size=30))
def test_any_text_is_a_selector_or_an_error_with_its_place(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SettingsError as error:
        found = re.match(r"label selector, character (\d+): ", str(error))
        assert found is not None
        assert 1 <= int(found[1]) <= len(text) + 1
    else:
        assert parse_label_selector(selector.text) == selector
