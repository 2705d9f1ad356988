"""The search page in a browser, against a running server."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import accessible, photograph


@pytest.fixture
def search(page: Page, site: str) -> Page:
    """The search page, as it opens."""
    page.goto(f"{site}/search")
    expect(page.locator("#rows > li").first).to_be_visible()
    return page


def labels(page: Page) -> list[str]:
    return page.locator("#rows .label").all_inner_texts()


def test_it_opens_with_what_steers_best(search: Page) -> None:
    expect(search.locator("#heading")).to_have_text("Features that steer best here")
    assert labels(search)[0].startswith("pirate speech")
    assert accessible(search) == []
    photograph(search, "search-start")
    search.get_by_role("button", name="pirate speech: matey, ship, treasure", exact=True).click()
    expect(search.locator("#heading")).to_contain_text("for “pirate speech: matey, ship, treasure”")


def test_results_come_as_one_types_and_the_address_is_theirs(search: Page, site: str) -> None:
    search.locator("#q").press_sequentially("formal")
    expect(search.locator("#rows .label").first).to_contain_text("formal")
    expect(search.locator("#heading")).to_contain_text("for “formal”, best first")
    assert search.url == f"{site}/search?q=formal"
    row = search.locator("#rows > li", has_text="formal tone").first
    expect(row).to_contain_text("demo-l2 · layer 2 · latent 1")
    expect(row).to_contain_text("stale")
    expect(row).to_contain_text("57%")
    expect(row).to_contain_text("+59%")
    expect(row).to_contain_text("1 in 100 tokens")
    expect(search.locator("#hints")).to_contain_text("letters (2 features together)")
    assert accessible(search) == []
    photograph(search, "search-formal")
    shown = labels(search)
    search.reload()
    expect(search.locator("#heading")).to_contain_text("for “formal”")
    assert labels(search) == shown


def test_filters_narrow_a_search(search: Page, site: str) -> None:
    search.locator("#q").fill("formal")
    search.get_by_label("SAE", exact=True).select_option("demo-l8")
    expect(search.locator("#rows > li", has_text="demo-l2")).to_have_count(0)
    expect(search.locator("#rows > li").first).to_contain_text("demo-l8")
    search.get_by_label("State").select_option("stale")
    expect(search.locator("#heading")).to_have_text("No feature found")
    expect(search.locator("#hints")).to_contain_text("Fewer filters")
    assert search.url == f"{site}/search?q=formal&artifact=demo-l8&state=stale"
    search.get_by_role("button", name="Clear filters").click()
    expect(search.locator("#heading")).to_contain_text("for “formal”")
    assert search.url == f"{site}/search?q=formal"
    search.get_by_label("Layer").select_option("8")
    search.get_by_label("Steering with it was seen to work").check()
    expect(search.locator("#rows > li", has_text="demo-l2")).to_have_count(0)
    photograph(search, "search-filters")


def test_a_row_says_why_it_came_and_what_is_near(search: Page) -> None:
    search.locator("#q").fill("banking")
    expect(search.locator("#heading")).to_contain_text("for “banking”")
    search.get_by_role("button", name="Details of banking").first.click()
    inside = search.locator("#rows > li").first.locator(".inside")
    expect(inside).to_contain_text("“banking” is what you asked for")
    expect(inside.locator(".near li").first).to_be_visible()
    assert accessible(search) == []
    photograph(search, "search-details")


def test_the_keyboard_is_enough(search: Page) -> None:
    search.keyboard.press("ArrowDown")
    first = search.locator("#rows .label").first
    expect(first).to_be_focused()
    search.keyboard.press("ArrowDown")
    expect(search.locator("#rows .label").nth(1)).to_be_focused()
    search.keyboard.press("ArrowRight")
    expect(search.locator("#rows > li").nth(1).locator(".inside")).to_be_visible()
    search.keyboard.press("ArrowLeft")
    expect(search.locator("#rows > li").nth(1).locator(".inside")).to_be_hidden()
    search.keyboard.press("End")
    expect(search.locator("#rows .label").last).to_be_focused()
    search.keyboard.press("/")
    expect(search.locator("#q")).to_be_focused()


def test_pages_follow_each_other(page: Page, site: str) -> None:
    page.goto(f"{site}/search?min_score=0.5")
    expect(page.locator("#rows > li")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#rows > li")).to_have_count(32)
    expect(page.locator("#rows .label").nth(20)).to_be_focused()
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert len(set(page.locator("#rows > li").evaluate_all("rows => rows.map(each => each.dataset.id)"))) == 32


def test_a_typo_is_understood(search: Page) -> None:
    search.locator("#q").fill("bankng")
    search.locator("#hints").get_by_role("button", name="banking").click()
    expect(search.locator("#heading")).to_contain_text("for “banking”")


def test_what_is_hostile_is_text(search: Page) -> None:
    search.locator("#q").fill("hostile")
    row = search.locator("#rows > li").first
    expect(row.locator(".label")).to_contain_text("<script>")
    row.get_by_role("button", name="Details").click()
    expect(row.locator(".near li").first).to_be_visible()
    search.locator("#q").fill("letters")
    expect(search.locator("#hints")).to_contain_text("<script>")
    assert search.evaluate("window.hacked") is None


def test_a_server_that_is_gone_is_said_to_be(search: Page, complaints: list[str]) -> None:
    search.route("**/v1/features?**", lambda route: route.abort())
    search.locator("#q").fill("banking")
    expect(search.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(search.get_by_role("alert")).to_contain_text("Is the server running")
    search.unroute("**/v1/features?**")
    complaints.clear()
    search.get_by_role("button", name="Try again").click()
    expect(search.locator("#heading")).to_contain_text("for “banking”")


def test_an_error_shows_the_server_s_words(search: Page, complaints: list[str]) -> None:
    body = '{"error": {"message": "the store is busy", "type": "x", "param": null, "code": "store_busy"}}'
    search.route("**/v1/features?**", lambda route: route.fulfill(status=503, body=body))
    search.locator("#q").fill("banking")
    expect(search.get_by_role("alert")).to_contain_text("the store is busy")
    expect(search.get_by_role("alert")).to_contain_text("few seconds")
    complaints.clear()


def test_a_wait_says_what_for(search: Page) -> None:
    search.route("**/v1/features?**", lambda route: (search.wait_for_timeout(600), route.continue_()))
    search.locator("#q").fill("banking")
    expect(search.locator("#waiting")).to_contain_text("Searching…")
    expect(search.locator("#heading")).to_contain_text("for “banking”")
    expect(search.locator("#waiting")).to_be_empty()


def test_only_the_last_of_several_searches_is_shown(search: Page) -> None:
    def slow_first(route: Route) -> None:
        if "q=bank&" in route.request.url:
            search.wait_for_timeout(500)
        route.continue_()

    search.route("**/v1/features?**", slow_first)
    search.locator("#q").fill("bank")
    search.wait_for_timeout(100)
    search.locator("#q").fill("formal")
    expect(search.locator("#heading")).to_contain_text("for “formal”")
    search.wait_for_timeout(700)
    expect(search.locator("#heading")).to_contain_text("for “formal”")


def test_colours_are_switched_and_kept(search: Page) -> None:
    search.get_by_role("button", name="Theme: system").click()
    search.get_by_role("button", name="Theme: light").click()
    expect(search.locator("html")).to_have_attribute("data-theme", "dark")
    assert accessible(search) == []
    search.reload()
    expect(search.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_phone_has_room_for_it(search: Page) -> None:
    search.set_viewport_size({"width": 360, "height": 740})
    search.locator("#q").fill("formal")
    expect(search.locator("#heading")).to_contain_text("for “formal”")
    search.get_by_role("button", name="Details").first.click()
    expect(search.locator(".near li").first).to_be_visible()
    assert search.evaluate("document.documentElement.scrollWidth") <= 360
    assert accessible(search) == []


def test_a_key_is_asked_for_once_and_sent(page: Page, site: str, complaints: list[str]) -> None:
    asked = []

    def guarded(route: Route) -> None:
        asked.append(route.request.headers.get("authorization"))
        if asked[-1] == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "Unauthorized"})

    page.route("**/v1/**", guarded)
    page.goto(f"{site}/search?q=banking")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("--api-key")
    assert accessible(page) == []
    photograph(page, "search-key")
    dialog.get_by_label("Key").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill("secret")
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_contain_text("for “banking”")
    page.reload()
    expect(page.locator("#heading")).to_contain_text("for “banking”")
    assert list(dict.fromkeys(asked)) == [None, "Bearer wrong", "Bearer secret"]
    assert set(asked[asked.index("Bearer secret") :]) == {"Bearer secret"}
    complaints.clear()
