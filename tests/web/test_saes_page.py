"""The page of SAEs and their drift in a browser, against a running server."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from featurehub.features import State
from featurehub.store import Store
from featurehub.verdicts import DriftReport, FeatureVerdict, Statistic
from tests.api.models import model
from tests.browser import accessible, photograph, running_app
from tests.web.site import HOSTILE, LOWER, SIBLING, site_app

NOW = {0: State.FRESH, 1: State.STALE, 2: State.SUSPECT, 13: State.STALE, 4: State.UNCHECKED}
"""By latent; before, all were fresh."""


def verdict(latent: int, reads: State) -> FeatureVerdict:
    fall = {State.STALE: 0.4, State.SUSPECT: 0.12}.get(reads, 0.01)
    compared = (("f1_fall_text", fall, 0.1), ("f1_fall_world", fall / 2, 0.15), ("correlation", 1 - fall, 0.7))
    evidence = tuple(Statistic(statistic=name, value=value, threshold=limit, n=40) for name, value, limit in compared)
    label = f"hostile {HOSTILE}" if latent == 13 else f"feature {latent}"
    return FeatureVerdict(
        latent=latent, label=label, reads=reads, steers=State.UNCHECKED, evidence=evidence,
        reason=f"its label fits {fall:.2f} less {HOSTILE if latent == 13 else ''}",
    )  # fmt: skip


def checked(id: str, day: int, on: str, states: dict[int, State]) -> DriftReport:
    return DriftReport(
        id=id, artifact=LOWER, model=on, fingerprint=model(SIBLING).function if on == "sibling" else "z" * 64,
        created=f"2026-03-0{day}T00:00:00+00:00", state=State.SUSPECT, reason="2 of 5 labelled features are stale",
        metrics={"explained_variance_old": 0.96, "explained_variance_new": 0.91, "l0_old": 31.5, "l0_new": 30.25,
                 "canary_tokens": 12000.0},
        features=tuple(verdict(*each) for each in states.items()),
    )  # fmt: skip


@pytest.fixture(scope="module")
def drifted(store: Store) -> Iterator[str]:
    """The address of a server whose first SAE was checked three times, last on the loaded model."""
    with store.write() as writer:
        writer.put_report(checked("dr_before", 1, "elsewhere", dict.fromkeys(NOW, State.FRESH)))
        writer.put_report(checked("dr_now", 2, "sibling", NOW))
    with running_app(site_app(store)) as address:
        yield address


@pytest.fixture
def saes(page: Page, drifted: str) -> Page:
    page.goto(f"{drifted}/saes")
    expect(page.locator("#verdicts-title")).to_be_visible()
    return page


def test_it_says_how_each_sae_stands_and_what_serving_does(saes: Page) -> None:
    cards = saes.locator("#list .sae")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("demo-l2")
    expect(cards.first).to_contain_text("suspect")
    expect(cards.first).to_contain_text("demo · layer 2 · 64 features")
    expect(cards.nth(1)).to_contain_text("unchecked")
    standing = saes.locator("section", has=saes.locator("#standing-title"))
    expect(standing).to_contain_text("differ in weights")
    expect(standing).to_contain_text("is refused: the request gets HTTP 409")
    expect(standing.locator(".code").first).to_contain_text("featurehub drift check demo-l2 --model")
    quality = saes.locator("section", has=saes.locator("#quality-title"))
    expect(quality.locator("figure", has_text="Explained variance").locator(".measure").first).to_contain_text("96%")
    assert accessible(saes) == []
    photograph(saes, "saes")


def test_verdicts_are_counted_drawn_and_listed(saes: Page) -> None:
    drift = saes.locator("section", has=saes.locator("#drift-title"))
    expect(drift).to_contain_text("so this report decides what is refused here")
    expect(drift.get_by_role("img", name="Verdicts on the labelled features")).to_have_attribute(
        "aria-label", "Verdicts on the labelled features: stale: 2 features (40.0%), suspect: 1 features (20.0%), "
        "fresh: 1 features (20.0%), unchecked: 1 features (20.0%)",
    )  # fmt: skip
    assert drift.locator("svg.plot .mark").count() == 5
    assert drift.locator("svg.plot .doubt").count() == 2
    whole = drift.locator("table", has_text="The SAE as a whole")
    assert whole.locator("tbody tr").all_inner_texts() == [
        "Explained variance\t96%\t91%",
        "Features active on a token\t31.5\t30.3",
    ]
    rows = drift.locator("section table tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("fresh")
    drift.get_by_role("button", name="All 5").click()
    expect(rows).to_have_count(5)
    drift.get_by_label("Filter").fill("feature 2")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("0.12 less")
    drift.get_by_label("Filter").fill("nothing has this")
    expect(drift.locator("section")).to_contain_text("No verdict fits")


def test_another_report_is_one_click_away_and_has_an_address(saes: Page, drifted: str) -> None:
    drift = saes.locator("section", has=saes.locator("#drift-title"))
    earlier = drift.locator("table", has_text="Latest first").locator("tbody tr")
    expect(earlier).to_have_count(3)
    earlier.nth(1).get_by_role("button").click()
    expect(drift).to_contain_text("report dr_before")
    expect(drift).to_contain_text("so this report decides nothing here")
    assert saes.url == f"{drifted}/saes?sae=demo-l2&report=dr_before"
    saes.reload()
    expect(drift).to_contain_text("report dr_before")


def test_an_sae_without_a_report_says_how_to_get_one(saes: Page, drifted: str) -> None:
    saes.locator("#list .sae").nth(1).click()
    expect(saes.locator("#drift-title + p")).to_contain_text("No drift check has been run")
    expect(saes.locator("#standing-title")).to_contain_text("demo-l8")
    assert saes.url == f"{drifted}/saes?sae=demo-l8"


def test_what_is_hostile_is_text_and_leads_to_the_feature(saes: Page) -> None:
    saes.get_by_label("Filter").fill("hostile")
    row = saes.locator("section section table tbody tr")
    expect(row).to_contain_text("<script>")
    assert saes.evaluate("window.hacked") is None


def test_a_report_that_cannot_be_read_says_what_to_do(page: Page, drifted: str, complaints: list[str]) -> None:
    page.route("**/v1/drift/**", lambda route: route.abort())
    page.goto(f"{drifted}/saes")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/v1/drift/**")
    complaints.clear()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdicts-title")).to_be_visible()


def test_a_phone_has_room_for_it(saes: Page) -> None:
    saes.set_viewport_size({"width": 360, "height": 740})
    assert saes.evaluate("document.documentElement.scrollWidth") <= 360
    assert accessible(saes) == []
