"""The start page in a browser, against a running server whose model echoes."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from api.app import create_app
from featurehub.store import Store, open_store
from tests.browser import accessible, photograph, running_app
from tests.web.site import LOWER, fill_sae
from tests.web.steered_site import steered_app, steering_of


@pytest.fixture
def start(page: Page, steered_site: str) -> Page:
    """The start page, with its first answers."""
    page.goto(steered_site)
    expect(page.locator("#report")).to_contain_text("7 tokens steered")
    return page


def steered_with(app: FastAPI) -> set[int]:
    """The latents of the last steered request."""
    return {each.latent for each in steering_of(app.state.echoed).edits}


def test_it_opens_with_three_personas_and_two_answers(start: Page) -> None:
    personas = start.locator(".persona")
    expect(personas).to_have_count(3)
    # The best three that share no word: by what calibration saw, never the stale "formal tone".
    assert [each.split("\n")[0] for each in personas.all_inner_texts()] == [
        "cooking: oven, recipe", "formal letters: dear sir", "sad endings: tears, loss, goodbye",
    ]  # fmt: skip
    expect(personas.first).to_have_attribute("aria-pressed", "true")
    expect(start.locator("#plain .said")).to_have_text("Tell me something interesting. ")
    expect(start.locator("#steered .said")).to_have_text("Tell me something interesting. ")
    expect(start.get_by_role("slider", name="Weight of cooking")).to_have_value("1")
    assert accessible(start) == []
    photograph(start, "start")


def test_a_knob_writes_the_answer_anew(start: Page, app: FastAPI) -> None:
    before = len(app.state.echoed)
    start.get_by_role("spinbutton", name="Exact weight of sad endings").fill("0.5")
    expect(start.locator(".persona").first).to_have_attribute("aria-pressed", "false")
    expect(start.locator("#report summary")).to_contain_text("tokens steered")
    start.wait_for_function("location.search.includes('0.5')")
    start.wait_for_timeout(700)
    # The steered answer alone, once.
    assert len(app.state.echoed) == before + 1
    assert steered_with(app) == {5, 3}
    start.locator(".persona").nth(1).click()
    expect(start.get_by_role("slider", name="Weight of cooking")).to_have_value("0")
    expect(start.locator("#report summary")).to_be_visible()
    assert steered_with(app) == {10}


def test_a_question_is_typed_or_clicked(start: Page) -> None:
    start.get_by_role("button", name="Tell me a short story.").click()
    expect(start.locator("#steered .said")).to_have_text("Tell me a short story. ")
    start.get_by_label("Your question").fill("who <b>are</b> you?")
    start.keyboard.press("Enter")
    expect(start.locator("#plain .said")).to_have_text("who <b>are</b> you? ")
    start.reload()
    expect(start.get_by_label("Your question")).to_have_value("who <b>are</b> you?")
    start.get_by_role("link", name="Open in the playground").click()
    expect(start.locator(".asked")).to_contain_text("who <b>are</b> you?")
    expect(start.get_by_role("slider", name="Weight of cooking")).to_have_value("1")


def test_knobs_at_zero_are_said_to_steer_nothing(start: Page) -> None:
    start.get_by_role("spinbutton", name="Exact weight of cooking").fill("0")
    expect(start.locator("#report")).to_contain_text("not steered")


def test_a_registry_alone_says_what_to_do(page: Page, store: Store) -> None:
    with running_app(create_app(store)) as address:
        page.goto(address)
        expect(page.locator("#state")).to_contain_text("serves no model")
        expect(page.locator("#state")).to_contain_text("featurehub serve MODEL --sae SAE")
        page.get_by_role("link", name="Look at the features").click()
        expect(page).to_have_url(re.compile("/search$"))
        page.goto(f"{address}/playground")
        expect(page.locator("#state")).to_contain_text("serves no model")


def test_where_nothing_was_calibrated_it_says_so(page: Page, tmp_path: Path) -> None:
    store = open_store(tmp_path / "features.db")
    with store.write() as writer:
        fill_sae(writer, LOWER, "demo-l2", 2, calibrated=False)
        fill_sae(writer, "b" * 64, "demo-l8", 8, calibrated=False)
    with running_app(steered_app(store)) as address:
        page.goto(address)
        expect(page.locator("#state")).to_contain_text("featurehub calibrate SAE MODEL")
        assert accessible(page) == []
    store.close()
