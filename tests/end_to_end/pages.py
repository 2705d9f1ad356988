"""The main path of each page, as somebody goes it in a browser, on whatever server and features there are.

Answers come from a real model: how they read is not looked at, but that they came, and what the report says of them.
"""

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser import accessible, photograph, watched

__all__ = ["explained", "played", "read_feature", "searched", "started", "states_of"]

STEERED = re.compile(r"[1-9]\d* tokens steered · dose \d")
ANSWER_MS = 60_000
"""A real model's answer on a busy machine."""


def started(page: Page, root: str, kind: str) -> None:
    """The start page: a persona, a question, two answers, and a knob that writes the steered one anew."""
    page.goto(f"{root}/")
    report = page.locator("#report")
    expect(report).to_contain_text(STEERED, timeout=ANSWER_MS)
    expect(page.locator("#plain .said")).not_to_be_empty()
    personas = page.locator(".persona")
    personas.nth(1).click()
    expect(personas.nth(1)).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Your question").fill("What did you do today?")
    page.keyboard.press("Enter")
    page.get_by_role("spinbutton").nth(1).fill("0.5")
    expect(page).to_have_url(re.compile("%3A0.5"))
    expect(report).to_contain_text(STEERED, timeout=ANSWER_MS)
    expect(page.locator("#stop")).to_be_hidden(timeout=ANSWER_MS)
    report.locator("summary").click()
    expect(report.locator(".applied li")).to_have_count(1)
    assert accessible(page) == []
    photograph(page, f"{kind}-start")


def searched(page: Page, root: str, words: str, kind: str) -> str:
    """The search page: results as one types. Returns the first label that holds the words, whose page is opened."""
    page.goto(f"{root}/search")
    expect(page.locator("#rows > li").first).to_be_visible()
    page.get_by_label("What should it be about?").press_sequentially(words)
    expect(page.locator("#heading")).to_contain_text(f"for “{words}”")
    found = page.locator("#rows .label", has_text=words).first
    label = found.inner_text()
    photograph(page, f"{kind}-search")
    found.click()
    expect(page.locator("h1")).to_contain_text(label)
    return label


def read_feature(page: Page, text: str, kind: str) -> None:
    """The page of a feature that is open: a text that is read live."""
    expect(page.locator("#near .wait")).to_have_count(0)
    page.get_by_label("Your text").fill(text)
    expect(page.locator("#found")).to_contain_text("It fires on", timeout=ANSWER_MS)
    expect(page.locator("#found .on").first).to_be_visible()
    page.locator("#place").scroll_into_view_if_needed()
    expect(page.locator("#place .wait")).to_have_count(0)
    assert accessible(page) == []
    photograph(page, f"{kind}-feature")


def played(page: Page, root: str, words: str, kind: str, *, key: str = "", variant: str = "") -> None:
    """The playground: a slider, two answers that stream, the report, a word's features, the code, and a variant."""
    page.goto(f"{root}/playground")
    page.get_by_role("combobox", name="Add a feature or a group").fill(words)
    page.get_by_role("option", name=words).first.click()
    slider = page.get_by_role("slider").first
    expect(slider).to_be_visible()
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Your message").fill("Tell me something.")
    page.keyboard.press("Enter")
    steered, plain = page.locator("article.steered"), page.locator("article.plain")
    expect(steered.locator(".report summary")).to_contain_text(STEERED, timeout=ANSWER_MS)
    expect(page.locator("#stop")).to_be_hidden(timeout=ANSWER_MS)
    word = plain.locator(".tokens button").first
    expect(word).to_be_visible(timeout=ANSWER_MS)
    word.hover()
    expect(plain.locator(".panel")).to_be_visible()
    page.locator("#code > summary").click()
    expect(page.locator("#snippets")).to_contain_text("from openai import OpenAI")
    assert accessible(page) == []
    if variant:
        saved_as(page, variant, key)
    photograph(page, f"{kind}-playground")


def saved_as(page: Page, variant: str, key: str) -> None:
    """Saves what is set as a variant, as an operator."""
    page.get_by_text("Saved variants").click()
    page.get_by_label("Save as").fill(variant)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#saved")).to_contain_text(f'model="{variant}"')


def states_of(page: Page, root: str, sae: str, kind: str) -> None:
    """The page of the SAEs: how they stand, and what drift checks found of one."""
    page.goto(f"{root}/saes")
    page.locator("#list .sae", has_text=sae).first.click()
    expect(page.locator("#standing-title")).to_contain_text(sae)
    expect(page.locator("#drift-title")).to_be_visible()
    assert accessible(page) == []
    photograph(page, f"{kind}-saes")


def explained(page: Page, browser: Browser, root: str, chat: str, word: str, folder: Path, kind: str) -> None:
    """The explain page: what was at work, what made one word likely, and a copy that needs no server."""
    page.goto(f"{root}/explain")
    page.get_by_label("Chat, or a question").fill(chat)
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.locator("#ranked > li").first).to_be_visible(timeout=ANSWER_MS)
    page.locator("#map .token", has_text=word).last.click()
    expect(page.locator("#token .ranked > li").first).to_contain_text("likel", timeout=ANSWER_MS)
    assert accessible(page) == []
    photograph(page, f"{kind}-explain")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save as a page").click()
    saving.value.save_as(folder / "explanation.html")
    complaints: list[str] = []
    with watched(browser, complaints) as copy:
        copy.goto((folder / "explanation.html").as_uri())
        expect(copy.locator("table").first.locator("tbody tr").first).to_be_visible()
    assert complaints == []
