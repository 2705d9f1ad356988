"""The map of a dictionary on the feature page, in a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from featurehub.store import FeatureMap, Store
from tests.browser import accessible, photograph, running_app
from tests.web.reader import ReadingEngine
from tests.web.site import HOSTILE, LABELS, LOWER, UPPER, site_app

MANY = 65_536


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[str]:
    """The address of ``site_app`` with an engine that reads, and a map of the lower SAE: latents in lines of four."""
    with store.write() as writer:
        places = [[16_000 * (latent % 4), 12_000 * (latent // 4)] for latent in LABELS]
        writer.put_map(LOWER, FeatureMap.of(list(LABELS), places))
    with running_app(site_app(store, ReadingEngine())) as address:
        yield address


def opened(page: Page, site: str, latent: int = 5, sae: str = LOWER) -> Page:
    page.goto(f"{site}/feature?name=sae:{sae}/{latent}")
    page.locator("#place").scroll_into_view_if_needed()
    expect(page.locator("#place .wait")).to_have_count(0)
    return page


def test_pointing_says_a_label_and_a_click_opens_it(page: Page, site: str) -> None:
    canvas = opened(page, site).locator("#place canvas")
    expect(page.locator("#place")).to_contain_text("All 17 features")
    box = canvas.bounding_box()
    assert box is not None
    scale = (box["width"] - 48) / 65_536
    canvas.hover(position={"x": 24 + 3 * 16_000 * scale, "y": 24 + 12_000 * scale})
    expect(page.locator(".told")).to_contain_text("polite refusals")
    canvas.hover(position={"x": box["width"] / 2, "y": box["height"] - 3})
    canvas.click(position={"x": 24, "y": 24})
    expect(page.locator("h1")).to_contain_text("pirate speech")


def test_arrow_keys_go_from_feature_to_feature(page: Page, site: str) -> None:
    canvas = opened(page, site).locator("#place canvas")
    canvas.focus()
    expect(page.locator(".told")).to_contain_text("cooking: oven")
    for key, label in (
        ("ArrowRight", "the French language"),
        ("ArrowDown", "formal letters"),
        ("ArrowLeft", "weather"),
    ):
        page.keyboard.press(key)
        expect(page.locator(".told")).to_contain_text(label)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("weather: rain, cloud")


def test_who_does_not_see_it_has_a_list_and_labels_are_text(page: Page, site: str) -> None:
    opened(page, site, 9)
    expect(page.locator("#place .near li")).to_have_count(8)
    expect(page.locator("#place .near")).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Around this feature").click()
    expect(page.get_by_role("button", name="Around this feature")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("window.hacked") is None
    assert accessible(page) == []
    photograph(page, "map")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.emulate_media(color_scheme="dark")
    assert accessible(page) == []


def test_without_a_map_the_command_is_said(page: Page, site: str) -> None:
    opened(page, site, 5, UPPER)
    expect(page.locator("#place")).to_contain_text("featurehub features map demo-l8")


def test_what_is_newer_than_the_map_is_said(page: Page, site: str, store: Store) -> None:
    with store.read() as reader:
        before = reader.map(LOWER)
    assert before is not None
    place = page.locator("#place")
    try:
        with store.write() as writer:
            writer.put_map(LOWER, FeatureMap.of(before.latents[:-1], before.places[:-1]))
        expect(opened(page, site).locator("#place")).to_contain_text(
            "Features that have come since it was computed: 1."
        )
        expect(place).to_contain_text("featurehub features map demo-l2")
        opened(page, site, int(before.latents[-1]))
        expect(place).to_contain_text("This feature is newer than the map")
        expect(place.locator("canvas")).to_be_visible()
    finally:
        with store.write() as writer:
            writer.put_map(LOWER, before)
    opened(page, site)
    assert "that have come since" not in place.inner_text()


def test_65536_features_do_not_hold_the_page_up(page: Page, site: str, store: Store) -> None:
    steps = [[(at * 40_503) % 65_536, (at * 25_117) % 65_536] for at in range(MANY)]
    with store.read() as reader:
        before = reader.map(LOWER)
    assert before is not None
    with store.write() as writer:
        manifest = writer.reader.artifact(LOWER).manifest
        writer.put_artifact(manifest.model_copy(update={"d_sae": MANY}), "/nowhere")
        writer.put_map(LOWER, FeatureMap.of(range(MANY), steps))
    try:
        opened(page, site)
        expect(page.locator("#place")).to_contain_text("All 65,536 features")
        page.locator("#place canvas").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".told")).to_contain_text("latent ")
    finally:
        with store.write() as writer:
            writer.put_map(LOWER, before)
