"""How pages and their files are served, and what browsers may do with them."""

import os
from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader

from api.web.pages import FOLDER, PAGES, Page

__all__ = ["HEADERS", "POLICY", "attach_files", "router"]

POLICY = "; ".join(
    (
        "default-src 'self'", "img-src 'self' data:", "object-src 'none'", "base-uri 'none'", "form-action 'self'",
        "frame-ancestors 'none'",
    )
)  # fmt: skip
"""The Content-Security-Policy of a page: everything from this server, nothing inline."""
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache"}
"""Headers of pages and files. Both are asked for anew each time, which an unchanged file answers with 304."""

router = APIRouter(include_in_schema=False)
templates = Environment(loader=FileSystemLoader(FOLDER / "templates"), autoescape=True)


class Files(StaticFiles):
    """The modules and the style sheet."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        """The file, with ``HEADERS``."""
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers.update(HEADERS)
        return response


def attach_files(app: FastAPI) -> None:
    """Serves the pages' files below ``/web``."""
    app.mount("/web", Files(directory=os.fspath(FOLDER / "files")), "web")


def shows(page: Page) -> Callable[[], Response]:
    """The route that answers with a page's document."""
    document = templates.get_template(f"{page.file}.html").render(page=page, pages=PAGES)

    def show() -> Response:
        return HTMLResponse(document, headers={"content-security-policy": POLICY, "x-frame-options": "DENY", **HEADERS})

    return show


for each in PAGES:
    router.add_api_route(f"/{each.name}", shows(each), methods=["GET", "HEAD"])
