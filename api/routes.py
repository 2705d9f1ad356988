"""Checks that requests reach our routes, and not other ones that stand before them.

The first route that matches answers. Where that is vLLM's own, ``features`` would be ignored and the answer unsteered.
"""

import re
from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match

from featurehub.errors import EngineError

__all__ = ["check_routes"]

PARAMETER = re.compile(r"{[^}]*}")


def check_routes(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Checks that each of our routes is the first that its requests meet.

    Args:
        app: The app with all its routes.
        routers: Our routers.

    Raises:
        EngineError: Another route would answer in place of one of ours.
    """
    for route in (route for router in routers for route in router.routes):
        if not isinstance(route, APIRoute):
            continue
        for method in sorted(route.methods):
            if answering(app, method, PARAMETER.sub("x", route.path)) is not route.endpoint:
                raise EngineError(
                    f"another route answers {method} {route.path} before featurehub's, so edits would be ignored in "
                    "silence. `featurehub serve` needs vLLM 0.32, where a plugin's routes replace vLLM's own."
                )


def answering(app: FastAPI, method: str, path: str) -> object:
    """The function of the first route that matches; None where that is a mounted app, or where none matches."""
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "app": app}
    for route in app.router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return child.get("endpoint")
    return None
