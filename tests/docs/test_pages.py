import pytest

from tests.docs.pages import DOCS, REGIONS, fill, regions_of

PAGES = {page.name: page for page in DOCS.rglob("*.md") if regions_of(page.read_text())}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_what_the_code_says(name: str, request: pytest.FixtureRequest) -> None:
    page = PAGES[name]
    filled = fill(page.read_text())
    if request.config.getoption("--update-golden"):
        page.write_text(filled)

    assert page.read_text() == filled


def test_everything_that_is_rendered_stands_on_a_page() -> None:
    shown = [region for page in PAGES.values() for region in regions_of(page.read_text())]

    assert sorted(shown) == sorted(REGIONS)
