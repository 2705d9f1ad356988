"""The feature page in a browser, against a running server."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from featurehub.store import open_store
from tests.browser import accessible, photograph, running_app
from tests.web.reader import ReadingEngine
from tests.web.site import LOWER, UPPER, fill_site, site_app

KEY = "operators only"
FORMAL, HOSTILE_ONE, QUESTIONS, LONG, NAMELESS = (f"sae:{LOWER}/{latent}" for latent in (1, 13, 14, 15, 16))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``site_app`` with operators, and with an engine that reads."""
    store = open_store(Path(tmp_path_factory.mktemp("site")) / "features.db")
    fill_site(store)
    app = site_app(store, ReadingEngine())
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY)
    with running_app(app) as address:
        yield address
    store.close()


def opened(page: Page, site: str, name: str = FORMAL) -> Page:
    page.goto(f"{site}/feature?name={name}")
    expect(page.locator("#code")).to_be_visible()
    expect(page.locator("#near .wait")).to_have_count(0)
    return page


def test_search_leads_to_a_page_that_shows_everything(page: Page, site: str) -> None:
    page.goto(f"{site}/search?q=formal")
    page.locator("#rows .label", has_text="formal tone").first.click()
    expect(page.locator("h1")).to_contain_text("formal tone: sincerely, regards")
    expect(page).to_have_title("formal tone: sincerely, regards · featurehub")
    expect(page.locator("h1")).to_contain_text("stale")
    sentence = page.locator("#sentence")
    expect(sentence).to_contain_text("fires on 1 in 100 tokens, most strongly at “formal”, “end”, “upon”, and “,”")
    expect(sentence).to_contain_text("makes “formal” and “!” likelier, and “the” less likely")
    expect(page.locator("#activity")).to_contain_text("How often it is how active")
    expect(page.locator("#writes")).to_contain_text("−1.5")
    expect(page.locator("#steers")).to_contain_text("+59%")
    expect(page.locator("#steers figure")).to_contain_text("coherent answers")
    expect(page.locator("#near .near")).to_contain_text("banking: loan, deposit, credit writes alike (number 1)")
    expect(page.locator("#near .chip").first).to_contain_text("cheerful greetings")
    expect(page.locator("#labels")).to_contain_text("by test (by hand)")
    expect(page.locator("#drift")).to_contain_text("sibling")
    expect(page.locator("#code")).to_contain_text(f'base_url="{site}"')
    expect(page.locator("#code")).to_contain_text('"model":"demo"')
    assert accessible(page) == []
    photograph(page, "feature")


def test_values_are_read_by_pointer_by_key_and_aloud(page: Page, site: str) -> None:
    opened(page, site)
    tokens = page.locator("#reads .contexts li").first.locator(".on")
    expect(tokens).to_have_count(4)
    expect(tokens.nth(1)).to_have_text("formal (3.1) ")
    tokens.nth(1).focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(2)).to_be_focused()
    page.keyboard.press("Home")
    expect(tokens.nth(0)).to_be_focused()
    assert tokens.nth(1).get_attribute("data-shown") == "3.1 · 100% of its largest"
    shown = "element => getComputedStyle(element, '::after').content"
    assert tokens.nth(0).evaluate(shown) == '"0.4 · 13% of its largest"'


def test_a_text_is_read_while_one_types(page: Page, site: str) -> None:
    opened(page, site)
    expect(page.locator("#found")).to_contain_text("It fires on 1 of")
    asked: list[object] = []
    page.on("request", lambda each: asked.append(each.post_data_json) if "inspect" in each.url else None)
    page.get_by_label("Your text").fill("")
    with page.expect_request(lambda each: "inspect" in each.url and "Dear sir" in str(each.post_data_json)):
        page.get_by_label("Your text").press_sequentially("Dear sir")
    expect(page.locator("#found")).to_contain_text("at most 2: 65% of the largest")
    expect(page.locator("#found .on")).to_have_count(1)
    assert asked[-1]["text"] == "Dear sir"  # type: ignore[index]
    assert len(asked) < 5


def test_a_person_gives_a_label(page: Page, site: str, complaints: list[str]) -> None:
    opened(page, site, QUESTIONS)
    page.get_by_text("Give it a better label").click()
    page.get_by_label("New label").fill("curiosity: why, how")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Save the label").click()
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("h1")).to_contain_text("curiosity: why, how")
    expect(page.locator("#labels li").first).to_contain_text("by Ada (person)")
    expect(page.locator("#labels li")).to_have_count(2)
    assert all("403" in each for each in complaints)
    complaints.clear()
    opened(page, site, "questions that ask why&artifact=" + LOWER)
    expect(page.locator("h1")).to_contain_text("curiosity: why, how")


def test_what_is_not_known_is_said_with_the_command_that_finds_it(page: Page, site: str) -> None:
    opened(page, site, f"sae:{UPPER}/13")
    expect(page.locator("#steers")).to_contain_text("featurehub calibrate demo-l8 MODEL --feature f_")
    expect(page.locator("#drift")).to_contain_text("featurehub drift check demo-l8 --model RETRAINED")
    opened(page, site, LONG)
    expect(page.locator("#steers")).to_contain_text("about 40% more answers")
    opened(page, site, NAMELESS)
    expect(page.locator("h1")).to_contain_text("latent 16")
    expect(page.locator("#labels")).to_contain_text("featurehub label demo-l2 MODEL")


def test_what_is_hostile_is_text(page: Page, site: str) -> None:
    opened(page, site, HOSTILE_ONE)
    expect(page.locator("h1")).to_contain_text("<script>")
    expect(page.locator("#reads")).to_contain_text("<script>")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("window.hacked") is None
    assert accessible(page) == []
    page.emulate_media(color_scheme="dark")
    assert accessible(page) == []


def test_a_name_that_is_not_here_leads_on(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(f"{site}/feature?name=formel tone")
    expect(page.get_by_role("alert")).to_contain_text("formel tone")
    expect(page.get_by_role("link", name="Search for “formel tone”")).to_be_visible()
    complaints.clear()
    page.goto(f"{site}/feature")
    page.get_by_role("link", name="Find one").click()
    expect(page.locator("#q")).to_be_visible()
