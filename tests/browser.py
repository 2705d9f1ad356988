"""A headless Chromium for tests of the pages, and what every page must hold.

``make test`` installs Debian's Chromium where it may; tests of the pages are skipped where there is none.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request

from featurehub.cli.server import free_port

__all__ = ["SCREENS", "accessible", "launched", "photograph", "running_app", "watched"]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
SCREENS = {"desktop": (DESKTOP, "light"), "phone": (PHONE, "light"), "dark": (DESKTOP, "dark")}
"""By name, the size of the screen and the colours."""
PICTURES = "FEATUREHUB_SCREENSHOTS"
"""The environment variable with the folder that pictures are kept in; without it none are made."""
GRAVE = ("serious", "critical")


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """The Chromium of this machine; skips the test where there is none."""
    if (program := next(filter(None, map(shutil.which, CHROMIUM)), None)) is None:
        pytest.skip("no Chromium is installed, so no page is tested: apt-get install chromium")
    browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def watched(browser: Browser, complaints: list[str], **options: Any) -> Iterator[Page]:
    """A page whose console errors, exceptions and requests to other hosts are added to ``complaints``."""
    context = browser.new_context(viewport=options.pop("viewport", DESKTOP), **options)
    context.set_default_timeout(10_000)
    page = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def on_request(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", "localhost", None):
            complaints.append(f"a request left the machine: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    context.on("request", on_request)
    try:
        yield page
    finally:
        context.close()


def accessible(page: Page) -> list[str]:
    """What axe finds of serious or critical faults: "rule: help (where)"."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']} ({'; '.join(str(node['target']) for node in each['nodes'][:3])})"
        for each in found
        if each["impact"] in GRAVE
    ]


def photograph(page: Page, name: str) -> None:
    """Keeps pictures of the page as it is, for each of ``SCREENS``, where the environment names a folder for them."""
    if not (folder := os.environ.get(PICTURES)):
        return
    for screen, (size, colors) in SCREENS.items():
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=colors)  # type: ignore[arg-type]
        page.screenshot(path=Path(folder) / f"{name}-{screen}.png", full_page=True)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")


@contextmanager
def running_app(app: FastAPI, **options: Any) -> Iterator[str]:
    """An app behind a real HTTP server in a thread. Yields its address, without a slash at the end."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
