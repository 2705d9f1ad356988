"""The page that explains an answer in a browser, against a running server whose engine is known by heart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from api.engine import FakeEngine
from featurehub.activations import NO_LATENT, ActivationBlock, ActivationTotals
from featurehub.edits import Steering
from featurehub.store import Store
from tests.api.reports import counts
from tests.browser import accessible, photograph, running_app, watched
from tests.web.site import HOSTILE, LOWER, UPPER, site_app

HOOKS = {LOWER: "layers.2.resid_post", UPPER: "layers.8.resid_post"}
FIRES = {
    LOWER: {"loan": {2: 3.0}, "bank": {2: 2.0, 1: 1.0}, "house": {0: 0.5}, "Can": {0: 90.0}},
    UPPER: {"sad": {3: 4.0}, "loan": {20: 1.0}},
}
"""By SAE and word, the latents that are active. 2 is banking, 1 formal, 0 pirate, 3 sad endings, 20 has no label."""
WEIGHTS = {(LOWER, 2): 0.5, (LOWER, 1): -0.25}
"""What an activation of 1 adds to the log-probability of every token."""
CHAT = f"user: Can I have a loan\n\nassistant: ask your bank {HOSTILE} for a loan on the house"


@dataclass
class KnownEngine(FakeEngine):
    """An engine in which words are tokens, and words alone decide what is active.

    texts: the words by id
    """

    texts: dict[int, str] = field(default_factory=dict)

    def token_ids(self, text: str) -> list[int]:
        ids = [1000 + sum(at * each for at, each in enumerate(word.encode(), 1)) for word in text.split()]
        self.texts |= dict(zip(ids, text.split(), strict=True))
        return ids

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        return [f" {self.texts[each]}" for each in token_ids]

    async def run(self, token_ids: Sequence[int], steering: Steering, **asked: Any) -> Mapping[int, float]:
        edited = {(each.sae, each.latent) for each in steering.edits}
        off = range(*steering.bounds(len(token_ids)))
        value = sum(
            WEIGHTS.get((sae, latent), 0.0) * activation
            for sae in HOOKS
            for at, own in enumerate(self.active(sae, token_ids))
            for latent, activation in own.items()
            if (sae, latent) not in edited or at not in off
        )
        self.logprobs = dict.fromkeys(self.texts, value - 5)
        hooks = {HOOKS[edit.sae]: counts(len(off)) for edit in steering.edits}
        report: dict[str, Any] = {"hooks": hooks, "requests": [0]}
        if steering.reads:
            blocks = [self.block(each.sae, token_ids) for each in steering.reads]
            totals = [self.totals(each.sae, token_ids, each.totals) for each in steering.reads if each.totals]
            report["activations"] = {"blocks": blocks, "totals": totals}
        self.reports[steering.report] = report
        return await super().run(token_ids, steering, **asked)

    def active(self, sae: str, ids: Sequence[int]) -> list[dict[int, float]]:
        return [FIRES[sae].get(self.texts[each], {}) for each in ids]

    def block(self, sae: str, ids: Sequence[int]) -> dict[str, Any]:
        latents, values = np.full((len(ids), 2), NO_LATENT), np.zeros((len(ids), 2))
        for at, own in enumerate(self.active(sae, ids)):
            latents[at, : len(own)], values[at, : len(own)] = list(own), list(own.values())
        return ActivationBlock.pack(sae, np.arange(len(ids)), np.array(ids), latents, values).model_dump()

    def totals(self, sae: str, ids: Sequence[int], stretches: Sequence[tuple[int, int]]) -> dict[str, Any]:
        found: dict[int, list[float]] = {}
        active = [each for first, stop in stretches for each in self.active(sae, ids)[first:stop]]
        for own in active:
            for latent, activation in own.items():
                found.setdefault(latent, []).append(activation)
        order = sorted(found)
        numbers = [(len(found[each]), sum(found[each]), max(found[each])) for each in order]
        ints = [np.array(each, "<i4").tobytes() for each in (order, [each for each, _, _ in numbers])]
        floats = [np.array([each[at] for each in numbers], "<f4").tobytes() for at in (1, 2)]
        return ActivationTotals(
            sae=sae, tokens=len(active), latents=ints[0], counts=ints[1], sums=floats[0], maxima=floats[1]
        ).model_dump()


@pytest.fixture(scope="module")
def known(store: Store) -> Iterator[str]:
    """The address of a server with that engine."""
    with running_app(site_app(store, KnownEngine())) as address:
        yield address


@pytest.fixture
def explain(page: Page, known: str) -> Page:
    """The page, with a chat that is explained."""
    page.goto(f"{known}/explain")
    page.get_by_label("Chat, or a question").fill(CHAT)
    expect(page.locator("#read-as")).to_have_text("Read as a chat of 2 messages: user, assistant.")
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.locator("#ranked > li")).to_have_count(4)
    return page


def shaded(page: Page) -> list[str]:
    """The words on a colour, without their values, which screen readers hear."""
    return [each.split(" (")[0].strip() for each in page.locator("#map .token.on").all_text_contents()]


def test_features_are_ranked_and_the_map_is_of_the_one_that_is_chosen(explain: Page) -> None:
    picks = explain.locator("#ranked .pick")
    assert picks.first.inner_text() == "banking: loan, deposit, credit"
    expect(explain.locator("#ranked > li").first).to_contain_text("max 3")
    assert shaded(explain) == ["loan", "bank", "loan"]
    explain.locator("#ranked").get_by_role("button", name="formal tone").click()
    expect(explain.locator("#map-title")).to_contain_text("formal tone")
    assert shaded(explain) == ["bank"]
    explain.locator("#ranked").get_by_role("button", name="pirate speech").click()
    assert shaded(explain) == ["house"]  # The first token is nobody's word, however active it is.
    expect(explain.locator("#notes")).to_contain_text("demo-l2, layer 2")
    assert accessible(explain) == []
    photograph(explain, "explain")


def test_the_order_can_be_another(explain: Page) -> None:
    explain.get_by_label("Order features by").select_option("frequency")
    expect(explain.locator("#ranked > li").first).to_contain_text("Fires on")
    explain.get_by_label("SAE").select_option(UPPER)
    expect(explain.locator("#ranked .pick")).to_have_text(["latent 20"])


def test_a_word_is_explained_by_what_made_it_likely(explain: Page) -> None:
    house = explain.locator("#map .token", has_text="house")
    house.click()
    why = explain.locator("#token")
    expect(why).to_contain_text("What made it likely")
    first = why.locator(".ranked > li").first
    expect(first).to_contain_text("banking")
    expect(first).to_contain_text("54.6× likelier")
    expect(why.locator(".ranked > li", has_text="formal tone")).to_contain_text("1.28× less likely")
    assert accessible(explain) == []
    photograph(explain, "explain-word")
    explain.locator("#map .token").first.click()
    expect(why).to_contain_text("nothing before them")


def test_a_measurement_says_what_it_is_doing_and_can_be_cancelled(explain: Page) -> None:
    explain.route("**/attribute", lambda route: None)  # It is never answered.
    explain.locator("#map .token", has_text="house").click()
    expect(explain.locator("#token .wait")).to_contain_text("Measuring")
    explain.locator("#token").get_by_role("button", name="Cancel").click()
    expect(explain.locator("#token")).to_contain_text("Cancelled")
    explain.unroute("**/attribute")
    explain.locator("#token").get_by_role("button", name="Measure it").click()
    expect(explain.locator("#token")).to_contain_text("× likelier")


def test_the_saved_page_opens_without_the_server(
    explain: Page, browser: Browser, complaints: list[str], tmp_path: Path
) -> None:
    explain.locator("#map .token", has_text="house").click()
    expect(explain.locator("#token")).to_contain_text("× likelier")
    with explain.expect_download() as saving:
        explain.get_by_role("button", name="Save as a page").click()
    saving.value.save_as(tmp_path / "explanation.html")
    listed = explain.locator("#ranked .pick").all_inner_texts()
    with watched(browser, complaints) as page:
        page.goto((tmp_path / "explanation.html").as_uri())
        assert page.locator("table").first.locator("tbody td:first-child").all_inner_texts() == listed
        expect(page.locator("body")).to_contain_text("demo-l2 (layer 2, suspect")
        expect(page.locator("body")).to_contain_text("54.6× likelier")
        on = page.locator("details").first.locator(".token.on").all_text_contents()
        assert on == [" loan (3) ", " bank (2) ", " loan (3) "]
        expect(page.locator("details").first).to_contain_text("<script>window.hacked")
        assert page.evaluate("[window.hacked, document.scripts.length, document.images.length]") == [None, 0, 0]
        assert accessible(page) == []
        photograph(page, "explanation")


def test_what_is_hostile_is_text(explain: Page) -> None:
    expect(explain.locator("#map")).to_contain_text("<script>window.hacked")
    assert explain.evaluate("window.hacked") is None


def test_the_model_answers_a_question_and_the_answer_is_explained(page: Page, known: str) -> None:
    page.goto(f"{known}/explain")
    page.get_by_label("Chat, or a question").fill("why is the bank sad")
    page.get_by_role("button", name="Let the model answer").click()
    expect(page.locator("#ranked > li").first).to_contain_text("sad endings")
    expect(page.get_by_label("Chat, or a question")).to_have_value(
        "user: why is the bank sad\n\nassistant: why is the bank sad"
    )


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "There is nothing to explain yet"),
        ('[{"role": "user"}]', 'Message 1 needs a "role" and a "content"'),
        ('[{"role": ', "This looks like JSON, and is none"),
        ("{}", "This JSON has no messages"),
    ],
)
def test_what_cannot_be_read_says_what_to_change(page: Page, known: str, pasted: str, said: str) -> None:
    page.goto(f"{known}/explain")
    page.get_by_label("Chat, or a question").fill(pasted)
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(said)


def test_json_and_plain_texts_are_read_too(page: Page, known: str) -> None:
    page.goto(f"{known}/explain")
    page.get_by_role("button", name="a chat as JSON").click()
    expect(page.locator("#read-as")).to_have_text("Read as a chat of 2 messages: user, assistant.")
    page.get_by_label("Chat, or a question").fill("a sad loan")
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.locator("#ranked .pick").first).to_have_text("sad endings: tears, loss, goodbye")


def test_a_phone_has_room_for_it(explain: Page) -> None:
    explain.set_viewport_size({"width": 360, "height": 740})
    explain.locator("#map .token", has_text="house").click()
    expect(explain.locator("#token")).to_contain_text("× likelier")
    assert explain.evaluate("document.documentElement.scrollWidth") <= 360
