"""The playground in a browser, against a running server whose model echoes."""

import contextlib
import io
import json
import subprocess
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from api.fake import EchoRequest
from featurehub.features import Edit
from featurehub.store import Store
from tests.browser import accessible, photograph
from tests.web.site import LOWER
from tests.web.steered_site import OPERATOR, steering_of


@pytest.fixture
def play(page: Page, steered_site: str) -> Page:
    """The playground, as it opens."""
    page.goto(f"{steered_site}/playground")
    expect(page.get_by_text("These steer best here")).to_be_visible()
    return page


def add(page: Page, words: str, label: str) -> None:
    page.get_by_role("combobox", name="Add a feature or a group").fill(words)
    page.get_by_role("option", name=label).first.click()
    expect(page.get_by_role("slider", name=f"Weight of {label}")).to_be_visible()


def ask(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")
    last = page.locator(".turns > li").last
    expect(last.locator(".asked")).to_contain_text(text)
    for each in ("plain", "steered"):
        expect(last.locator(f"article.{each} .tokens")).to_be_visible()


def echoed(app: FastAPI) -> list[EchoRequest]:
    return app.state.echoed


def test_answers_stand_beside_each_other_with_a_report(play: Page) -> None:
    add(play, "pirate", "pirate speech")
    ask(play, "who are you?")
    steered = play.locator("article.steered")
    expect(steered.locator(".said")).to_have_text("who are you? ")
    expect(steered.locator(".report summary")).to_have_text("7 tokens steered · dose 0.25")
    steered.locator(".report summary").click()
    expect(steered.locator(".applied li")).to_contain_text("nudge 0.7 · raw 1.4 · 7 tokens · not clipped")
    expect(play.locator("article.plain .said")).to_have_text("who are you? ")
    expect(play.locator("article.plain .report")).to_have_count(0)
    assert accessible(play) == []
    photograph(play, "playground")


def test_a_chat_goes_on_and_its_address_is_shared(play: Page, app: FastAPI) -> None:
    add(play, "pirate", "pirate speech")
    ask(play, "first")
    ask(play, "second")
    messages = echoed(app)[-1].messages
    assert [each["content"] for each in messages] == ["first", "first ", "second"]
    play.get_by_role("spinbutton", name="Exact weight of pirate speech").fill("-0.35")
    play.wait_for_url("**-0.35**")
    play.goto(play.url)
    expect(play.get_by_role("spinbutton", name="Exact weight of pirate speech")).to_have_value("-0.35")
    expect(play.locator(".turns .asked")).to_have_count(2)
    expect(play.locator(".turns > li").last.locator("article.steered .tokens")).to_be_visible()
    play.get_by_role("button", name="New chat").click()
    expect(play.locator(".turns > li")).to_have_count(0)
    assert "ask=" not in play.url


def test_sliders_are_switched_and_removed(play: Page, app: FastAPI) -> None:
    add(play, "pirate", "pirate speech")
    ask(play, "hello")
    before = len(echoed(app))
    play.get_by_label("Steer with pirate speech").uncheck()
    expect(play.locator("article.steered")).to_contain_text("not steered")
    assert "off=" in play.url
    assert len(echoed(app)) == before + 1
    play.get_by_role("button", name="Remove pirate speech").click()
    expect(play.get_by_role("slider", name="Weight of pirate speech")).to_have_count(0)
    expect(play.get_by_text("These steer best here")).to_be_visible()


def test_a_word_shows_its_features_and_one_becomes_a_slider(play: Page) -> None:
    ask(play, "ahoy there captain")
    words = play.locator("article.plain .tokens button")
    expect(words).to_have_count(3)
    words.nth(0).focus()
    expect(play.locator("article.plain .panel")).to_contain_text("pirate speech: matey, ship, treasure 2.5")
    play.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    play.keyboard.press("Enter")
    expect(words.nth(1)).to_have_attribute("aria-pressed", "true")
    words.nth(2).hover()
    expect(play.locator("article.plain .panel")).to_contain_text("there")
    assert accessible(play) == []
    photograph(play, "playground-word")
    play.locator("article.plain .panel").get_by_role("button", name="banking").click()
    expect(play.get_by_role("slider", name="Weight of banking")).to_be_visible()
    expect(play.locator(".knob", has_text="banking")).to_contain_text("unchecked")
    expect(play.locator("article.steered .report summary")).to_be_visible()


def test_conditions_and_endings_travel_and_return(play: Page, app: FastAPI) -> None:
    add(play, "pirate", "pirate speech")
    knob = play.locator("#knobs > li").first
    knob.locator("summary").click()
    knob.get_by_role("combobox", name="Only where a feature is active").fill("banking")
    play.get_by_role("option", name="banking").first.click()
    play.get_by_label("Share of the largest activation of banking").fill("0.4")
    play.get_by_text("End an answer when").click()
    play.get_by_role("button", name="Add an ending").click()
    play.get_by_role("combobox", name="When this feature is active").fill("sad endings")
    play.get_by_role("option", name="sad endings").first.click()
    play.get_by_label("What the answer calls it").fill("too sad")
    ask(play, "tell me")
    expect(play.locator("article.steered")).to_contain_text("Ended by “too sad”")
    # Either of the two answers may have been asked for last.
    steering = next(found for each in reversed(echoed(app)) if (found := steering_of([each])).edits)
    assert steering.edits[0].when is not None
    assert steering.aborts[0].event == "too sad"
    assert accessible(play) == []
    photograph(play, "playground-conditions")
    play.goto(play.url)
    expect(play.get_by_label("Share of the largest activation of banking")).to_have_value("0.4")
    expect(play.get_by_label("What the answer calls it")).to_have_value("too sad")


def test_how_answers_are_written(play: Page, app: FastAPI) -> None:
    play.get_by_text("How answers are written").click()
    play.get_by_label("System prompt").fill("be brief")
    play.get_by_label("Temperature").fill("0")
    play.get_by_label("Seed").fill("7")
    play.get_by_label("Read the features").uncheck()
    play.get_by_label("Your message").fill("hi")
    play.keyboard.press("Enter")
    expect(play.locator("article.plain .said")).to_have_text("hi ")
    sent = echoed(app)[-1]
    assert (sent.messages[0], sent.model_dump()["temperature"], sent.model_dump()["seed"]) == (
        {"role": "system", "content": "be brief"}, 0, 7,
    )  # fmt: skip
    play.get_by_label("Temperature").fill("9")
    play.get_by_label("Seed").focus()
    assert "temperature=9" not in play.url


def test_a_refusal_says_what_to_do(play: Page, complaints: list[str], steered_site: str) -> None:
    add(play, "formal tone", "formal tone")
    play.get_by_label("Your message").fill("hello")
    play.keyboard.press("Enter")
    expect(play.locator("article.steered").get_by_role("alert")).to_contain_text("no longer holds")
    expect(play.locator("article.plain .tokens")).to_be_visible()
    photograph(play, "playground-stale")
    play.get_by_role("button", name="Steer all the same").click()
    expect(play.locator("article.steered .notice.warning")).to_contain_text("formal tone")
    play.goto(f'{steered_site}/playground?features={{"pirat speech":0.5}}&ask=hello')
    expect(play.locator("article.steered").get_by_role("alert")).to_contain_text("pirat speech")
    play.locator("article.steered").get_by_role("button", name="pirate speech").first.click()
    # Two SAEs are served, and both have one that is called so.
    expect(play.locator("article.steered").get_by_role("alert")).to_contain_text("names 2 features")
    play.locator("article.steered").get_by_role("button", name="f_").first.click()
    expect(play.locator("article.steered .report summary")).to_be_visible()
    expect(play.get_by_role("spinbutton", name="Exact weight of pirate speech")).to_have_value("0.5")
    complaints.clear()


def test_a_variant_is_saved_and_loaded(play: Page, complaints: list[str], steered_site: str) -> None:
    add(play, "pirate", "pirate speech")
    play.get_by_text("Saved variants").click()
    play.get_by_label("Save as").fill("sea-dog")
    play.get_by_label("What it is for").fill("<b>talks</b>")
    play.get_by_role("button", name="Save", exact=True).click()
    play.get_by_label("Key", exact=True).fill(OPERATOR)
    play.get_by_role("button", name="Go on").click()
    expect(play.locator("#saved")).to_contain_text('model="sea-dog"')
    complaints.clear()
    play.goto(f"{steered_site}/playground")
    play.get_by_text("Saved variants").click()
    play.get_by_label("Load").select_option("sea-dog")
    expect(play.get_by_role("spinbutton", name="Exact weight of pirate speech")).to_have_value("0.7")
    expect(play.get_by_label("What it is for")).to_have_value("<b>talks</b>")
    play.goto(f"{steered_site}/playground?variant=sea-dog")
    expect(play.get_by_role("spinbutton", name="Exact weight of pirate speech")).to_have_value("0.7")


def test_the_code_sends_the_same_request(play: Page, app: FastAPI) -> None:
    add(play, "pirate", "pirate speech")
    add(play, "hostile", "hostile <script>")  # Was never calibrated, so it is held instead of added.
    play.get_by_role("spinbutton", name="Exact weight of hostile").fill("0.25")
    ask(play, 'it\'s "quoted" \\ and ümlauts')
    play.get_by_text("Show code").click()
    # The two answers are asked for at once, in whichever order.
    page_sent = next(without_stream(each) for each in reversed(echoed(app)) if steering_of([each]).edits)
    openai, sdk, curl = play.locator("#snippets code").all_inner_texts()
    assert accessible(play) == []
    photograph(play, "playground-code")
    for program in (openai, sdk):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(program, "snippet", "exec"), {})
        assert without_stream(echoed(app)[-1]) == page_sent
        assert "steered_tokens" in said.getvalue()
    answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["featurehub"]["steered_tokens"] == 7
    assert without_stream(echoed(app)[-1]) == page_sent


def without_stream(request: EchoRequest) -> dict[str, Any]:
    """A request as the echo got it, without how its answer comes; the page reads activations besides."""
    steering = steering_of([request])
    body = request.model_dump(exclude={"stream", "stream_options", "vllm_xargs", "cache_salt"})
    return body | {"edits": steering.edits, "aborts": steering.aborts, "positions": steering.positions}


def test_escape_stops(play: Page) -> None:
    play.route("**/v1/chat/completions", lambda route: None)
    play.get_by_label("Your message").fill("hello")
    play.keyboard.press("Enter")
    expect(play.locator("article.plain .wait")).to_contain_text("Waiting for the first word")
    expect(play.get_by_role("button", name="Stop")).to_be_visible()
    play.keyboard.press("Escape")
    expect(play.locator("article.plain")).to_contain_text("Stopped.")
    expect(play.get_by_role("button", name="Stop")).to_be_hidden()


def test_what_is_hostile_is_text(play: Page) -> None:
    add(play, "hostile", "hostile <script>")
    ask(play, "<img src=x onerror=window.hacked=1>")
    expect(play.locator("article.steered .said")).to_have_text("<img src=x onerror=window.hacked=1> ")
    play.locator("article.steered .tokens button").first.click()
    expect(play.locator("article.steered .panel")).to_contain_text("<script>")
    assert play.evaluate("window.hacked") is None


def test_a_phone_has_room_for_it(play: Page) -> None:
    play.set_viewport_size({"width": 360, "height": 740})
    add(play, "pirate", "pirate speech")
    ask(play, "hello")
    play.locator("article.steered .report summary").click()
    assert play.evaluate("document.documentElement.scrollWidth") <= 360
    assert accessible(play) == []


def test_where_no_key_would_help_none_is_asked_for(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(f"{site}/playground")
    expect(page.get_by_text("These steer best here")).to_be_visible()
    page.get_by_text("Saved variants").click()
    page.get_by_label("Save as").fill("mine")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#saved [role=alert]")).to_contain_text("start it with FEATUREHUB_OPERATOR_KEY")
    expect(page.get_by_role("dialog")).to_be_hidden()
    complaints.clear()


def test_lists_that_cannot_be_read_say_so(page: Page, steered_site: str, complaints: list[str]) -> None:
    for each in ("features?**", "variants?**"):
        page.route(f"**/v1/{each}", lambda route: route.abort())
    page.goto(f"{steered_site}/playground")
    expect(page.locator("#examples")).to_contain_text("cannot be reached")
    page.get_by_text("Saved variants").click()
    expect(page.locator("#saved")).to_contain_text("cannot be reached")
    page.unroute_all()
    page.locator("#examples").get_by_role("button", name="Try again").click()
    expect(page.get_by_text("These steer best here")).to_be_visible()
    page.locator("#saved").get_by_role("button", name="Try again").click()
    expect(page.locator("#saved")).to_be_empty()
    complaints.clear()


def test_every_saved_variant_is_listed(page: Page, steered_site: str, store: Store) -> None:
    with store.write() as writer:
        for at in range(120):
            writer.variants.save(f"many-{at:03}", "demo", {f"sae:{LOWER}/4": Edit(weight=0.5)})
    page.goto(f"{steered_site}/playground")
    expect(page.locator("#variant option", has_text="many-")).to_have_count(120)
    with store.write() as writer:
        for at in range(120):
            writer.variants.remove(f"many-{at:03}")
