"""The status page in a real browser."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from injector.control.journal import Reviewed
from tests.browser.stage import DOWN, Stage

HOSTILE = "<img src=x onerror=document.title=1>"


def test_a_label_edit_shows_by_itself(stage: Stage, page: Page) -> None:
    stage.label("shop", team="frontend")
    page.goto(stage.url)
    row = page.locator("[id='n-shop']")
    expect(row).to_contain_text("team=frontend")

    stage.label("shop", team="backend")

    expect(row).to_contain_text("team=backend")
    expect(row).to_have_class(re.compile("flashed"))


def test_what_comes_and_goes_shows_without_losing_ones_place(stage: Stage, page: Page) -> None:
    stage.label("shop", team="frontend")
    page.goto(stage.url)
    page.get_by_label("Series", exact=True).fill("my_own_series")

    stage.report("shop", "web-0")
    expect(page.locator("[id='w-shop/web-0']")).to_contain_text("120 → 120")
    stage.report("shop", "web-0", targets=[DOWN])

    expect(page.locator("[id='w-shop/web-0']")).to_contain_text("failing")
    expect(page.locator("[id='w-shop/web-0']")).to_contain_text("connection refused")
    expect(page.get_by_label("Series", exact=True)).to_have_value("my_own_series")
    expect(page.get_by_label("Series", exact=True)).to_be_focused()


def test_decisions_appear_newest_first(stage: Stage, page: Page) -> None:
    page.goto(stage.url)
    for name, reason in (("web-0", "injected"), ("cron-1", "opted-out")):
        stage.review(Reviewed(0.0, "inject", "shop", name, reason, "a clause", (), False, 0.001))

    rows = page.locator("#reviews tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("shop/cron-1")
    expect(rows.first).to_contain_text("opted-out")


def test_the_playground_answers_while_one_types(stage: Stage, page: Page) -> None:
    page.goto(stage.url)
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text('resource="orders"')

    page.get_by_label("Rules (YAML)").fill("- {target_label: team, replacement: blue}")
    expect(result).to_contain_text('team="blue"')

    page.get_by_label("Rules (YAML)").fill("- {action: nonsense}")
    expect(result.get_by_role("alert")).to_contain_text("'nonsense' is not one of")


def test_a_hostile_label_is_text(stage: Stage, page: Page) -> None:
    stage.label("shop", team=HOSTILE)
    stage.report("shop", HOSTILE, faults=[HOSTILE])
    page.goto(stage.url)

    expect(page.locator("[id='n-shop']")).to_contain_text(HOSTILE)
    stage.label("shop", team=HOSTILE + "2")
    expect(page.locator("[id='n-shop']")).to_contain_text(HOSTILE + "2")
    assert page.locator("img:not([alt=''])").count() == 0
    assert page.title().startswith("Livery")


def test_a_phone_shows_everything_without_scrolling_sideways(stage: Stage, page: Page) -> None:
    stage.label("shop", team="frontend", **{"a-very-long-label-name-of-a-team": "x" * 63})
    stage.report("shop", "web-" + "x" * 200, targets=[DOWN])
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(stage.url)
    expect(page.locator("#workloads tbody tr")).to_have_count(1)

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_reaches_everything(stage: Stage, page: Page) -> None:
    page.goto(stage.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the workloads")).to_be_focused()
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))

    assert {"Workloads", "Playground", "search", "series-text", "rules-text"} <= seen


def test_dark_and_light_are_told_apart(stage: Stage, page: Page) -> None:
    page.goto(stage.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")

    assert page.evaluate(ground) != dark


def test_without_javascript_the_page_and_the_playground_work(
    stage: Stage, context: BrowserContext
) -> None:
    stage.label("shop", team="frontend")
    browser = context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(stage.url)
    page.get_by_label("Rules (YAML)").fill("- {target_label: team, replacement: blue}")
    page.get_by_role("button", name="Apply the rules").click()

    expect(page.locator("#played")).to_contain_text('team="blue"')
    expect(page.locator("#link")).to_contain_text("Without JavaScript")
    plain.close()


def test_an_injector_that_went_away_is_said_and_found_again(
    stage: Stage, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(stage.url)
    page.route("**/live*", lambda route: route.abort())
    stage.label("shop", team="frontend")
    expect(page.locator("#link")).to_contain_text("retrying")
    page.unroute("**/live*")

    expect(page.locator("#link")).to_contain_text("updates automatically")
    expect(page.locator("[id='n-shop']")).to_contain_text("team=frontend")
