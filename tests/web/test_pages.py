"""The pages as documents: where they lie, their headers, and what their files may not hold."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.routes import check_routes
from api.web.pages import FOLDER, PAGES, Page
from api.web.routes import router
from featurehub.store import open_store

MODULES = sorted((FOLDER / "files").glob("*.js"))
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
LINK = re.compile(r"""(?:href|src|action)="([^"{]*)""")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    store = open_store(tmp_path / "features.db")
    yield create_app(store)
    store.close()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_a_page_is_a_document_under_a_strict_policy(page: Page, client: TestClient) -> None:
    answer = client.get(f"/{page.name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f'src="web/{page.file}.js"' in answer.text
    assert client.head(f"/{page.name}").status_code == 200
    for each in LINK.findall(answer.text):
        assert not each.startswith(("/", "http:", "https:", "//")), each
        if each.startswith("web/"):
            assert client.get(f"/{each}").status_code == 200, each


def test_the_root_leads_to_a_page(client: TestClient) -> None:
    assert client.get("/").status_code == 200


def test_pages_work_behind_a_prefix(app: FastAPI) -> None:
    outer = FastAPI()
    outer.mount("/hub", app)
    client = TestClient(outer)
    assert 'src="web/search.js"' in client.get("/hub/search").text
    assert client.get("/hub/web/search.js").status_code == 200
    assert client.get("/hub/").status_code == 200


def test_files_are_kept_and_asked_for_anew(client: TestClient) -> None:
    answer = client.get("/web/dom.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/web/dom.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/web/dom.js", "/llm/web/dom.js", "/", "/llm/"])
def test_a_prefix_may_be_there_or_not(path: str, app: FastAPI) -> None:
    """As behind a proxy that takes it away, and one that does not: a server's ``--root-path`` names it."""
    assert TestClient(app, root_path="/llm").get(path).status_code == 200


@pytest.mark.parametrize("path", ["/web/../routes.py", "/web/%2e%2e/routes.py", "/web/missing.js", "/web/"])
def test_nothing_else_is_served(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_the_api_keeps_its_own_headers_and_document(client: TestClient) -> None:
    assert "content-security-policy" not in client.get("/v1/features").headers
    assert not any(
        path.startswith("/web") or path in ("/", "/search") for path in client.get("/openapi.json").json()["paths"]
    )


def test_a_route_before_a_page_is_found(app: FastAPI) -> None:
    check_routes(app, [router])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_write_no_html_and_run_no_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert word not in text, word
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_script_and_no_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|\|\s*safe|javascript:", text)
