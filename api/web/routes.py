"""How pages and their files are served, and what browsers may do with them."""

import os
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader

from api.web.pages import FOLDER, PAGES, Page

__all__ = ["HEADERS", "POLICY", "router"]

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


FILES = Files(directory=os.fspath(FOLDER / "files"))


@router.api_route("/web/{name:path}", methods=["GET", "HEAD"])
async def file(name: str, request: Request) -> Response:
    """One of the pages' files. A mounted application would not be found without the prefix of ``--root-path``."""
    return await FILES.get_response(os.path.normpath(name), request.scope)


def shows(page: Page) -> Callable[[], Response]:
    """The route that answers with a page's document."""
    document = templates.get_template(f"{page.file}.html").render(page=page, pages=PAGES)

    def show() -> Response:
        return HTMLResponse(document, headers={"content-security-policy": POLICY, "x-frame-options": "DENY", **HEADERS})

    return show


for each in PAGES:
    router.add_api_route(f"/{each.name}", shows(each), methods=["GET", "HEAD"])
