"""A person's task in a browser, "see what went stale": on a really retrained model, by the report of a real check."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page, expect

from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import sibling
from featurehub.features import Feature, State
from featurehub.runs.drift import check_drift
from featurehub.store import open_store
from featurehub.verdicts import DriftReport
from tests.browser import accessible, photograph
from tests.end_to_end.pages import ANSWER_MS, STEERED

pytestmark = pytest.mark.engine

LISTED = 25
"""So many verdicts the page lists at first, by latent."""


class Retrained(NamedTuple):
    """The server of the retrained model, and its report.

    Attributes:
        stale: Of the stale features that are listed first, the best named one that can be steered by.
        reason: Why it is stale.
    """

    root: str
    report: DriftReport
    stale: Feature
    reason: str


@pytest.fixture(scope="module")
def retrained(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retrained]:
    report = check_drift(built.artifact.folder, sibling("changed"), built.database)
    reasons = {each.latent: each.reason for each in report.features if each.state is State.STALE}
    with closing(open_store(built.database)) as store, store.read() as reader:
        features = reader.latents(report.artifact, sorted(reasons)[:LISTED])
    stale = max((each for each in features if each.strength is not None), key=lambda each: each.label_score or 0.0)
    log: Path = tmp_path_factory.mktemp("log") / "retrained.log"
    with served(["--planted", str(sibling("changed")), "--db", built.database], free_port(), log) as url:
        yield Retrained(url.removesuffix("/v1"), report, stale, reasons[stale.latent])


@pytest.fixture
def clicks(page: Page) -> list[str]:
    """What was clicked, on whatever page."""
    found: list[str] = []
    page.expose_function("clicked", lambda text: found.append(text))
    page.add_init_script("addEventListener('click', event => event.detail && clicked(event.target.textContent), true)")
    return found


def test_see_what_went_stale(page: Page, retrained: Retrained, clicks: list[str], complaints: list[str]) -> None:
    root, report, stale, reason = retrained
    page.goto(f"{root}/")
    page.get_by_role("link", name="SAEs & drift").click()
    verdicts = page.locator("section", has=page.locator("#verdicts-title"))
    expect(verdicts.get_by_role("button", name=re.compile("stale"))).to_have_attribute("aria-pressed", "true")
    counted = sum(each.state is State.STALE for each in report.features)
    expect(verdicts.get_by_role("button", name=re.compile("stale"))).to_contain_text(str(counted))
    expect(page.locator("#drift-title").locator("..")).to_contain_text(f"report {report.id}")
    row = verdicts.locator("tbody tr", has=page.get_by_role("link", name=stale.label, exact=True)).first
    expect(row).to_contain_text(reason)
    assert len(clicks) == 1  # What went stale, and why, is read with a single click.
    assert accessible(page) == []
    photograph(page, "stale-saes")

    row.get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text(stale.label)
    expect(page.locator("h1")).to_contain_text("stale")
    expect(page.locator("#drift")).to_contain_text(reason)
    photograph(page, "stale-feature")

    page.get_by_role("link", name="Steer with it").click()
    expect(page.locator(".knob").first).to_contain_text("stale")
    page.get_by_label("Your message").press_sequentially("tell me something .")
    page.keyboard.press("Enter")
    refused = page.locator("article.steered").get_by_role("alert")
    expect(refused).to_contain_text("stale", timeout=ANSWER_MS)
    expect(refused).to_contain_text(report.id)
    expect(page.locator("article.plain .said")).not_to_be_empty(timeout=ANSWER_MS)
    assert len(clicks) == 3
    photograph(page, "stale-refused")

    page.get_by_role("button", name="Steer all the same").click()
    steered = page.locator("article.steered")
    expect(steered.locator(".report summary")).to_contain_text(STEERED, timeout=ANSWER_MS)
    expect(steered.locator(".notice.warning")).to_contain_text(stale.label)
    assert len(clicks) == 4
    assert all("409" in each for each in complaints)  # The refusal.
    complaints.clear()


def test_a_search_finds_what_went_stale(page: Page, retrained: Retrained) -> None:
    root, report, stale, _ = retrained
    page.goto(f"{root}/search?state=stale")
    rows = page.locator("#rows > li")
    expect(rows.first).to_be_visible()
    expect(rows.filter(has_text="fresh")).to_have_count(0)
    known = {each.label for each in report.features if each.state is State.STALE}
    assert set(page.locator("#rows .label").all_inner_texts()) <= known
    assert stale.label in known
