"""Every page in a browser, against the planted model as it is really served."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.end_to_end.conftest import KEY
from tests.end_to_end.pages import explained, played, read_feature, searched, started, states_of

pytestmark = pytest.mark.engine

KIND = "planted"
CHAT = "user: tell me about banking\n\nassistant: the banker counts the coin at the vault . the cashier waits ."


@pytest.fixture(scope="module")
def root(url: str) -> str:
    """The address of the pages."""
    return url.removesuffix("/v1")


def test_start(page: Page, root: str) -> None:
    started(page, root, KIND)


def test_search_and_feature(page: Page, root: str) -> None:
    searched(page, root, "bank", KIND)
    read_feature(page, "the banker counts the coin at the vault . the cashier deposits the cheque .", KIND)
    assert page.locator("#place canvas").is_visible()


def test_playground(page: Page, root: str, complaints: list[str]) -> None:
    played(page, root, "bank", KIND, key=KEY, variant="page-banker")
    assert all("403" in each for each in complaints)  # Saving asked for the operators' key.
    complaints.clear()


def test_saes(page: Page, root: str) -> None:
    states_of(page, root, "demo-l3", KIND)


def test_explain(page: Page, browser: Browser, root: str, tmp_path: Path) -> None:
    explained(page, browser, root, CHAT, "vault", tmp_path, KIND)
