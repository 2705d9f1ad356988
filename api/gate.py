"""A middleware before every route: it bounds JSON bodies and refuses our keys where no route of ours would read them.

Without it, ``features`` sent to a route that only vLLM serves would be ignored, and the answer silently unsteered.
"""

import json

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response, plain
from api.request import KEYS, refuse_reserved
from featurehub.errors import InvalidInput

__all__ = ["MAX_BODY", "STEERED_PATHS", "Gate"]

MAX_BODY = 32 * 2**20
"""The largest JSON body, in bytes."""
STEERED_PATHS = ("/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions", "/v1/responses")
"""vLLM's routes that read featurehub's keys."""
OWN_PATHS = ("/v1/features/", "/v1/variants", "/api/inference/v1/")
"""Where the paths of our own routes begin, which themselves refuse every key that they do not know."""


class Gate:
    """ASGI middleware that checks POST requests with a JSON body; all others pass.

    A body that is too large is answered with 413, and one with our keys on a route that would ignore them with 400.

    Attributes:
        app: The app behind it.
        max_body: The largest body, in bytes.
    """

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not is_json(scope):
            await self.app(scope, receive, send)
            return
        messages = await self.read(receive)
        if messages is None:
            message = f"the body is larger than {self.max_body} bytes"
            await plain(413, message, "body_too_large")(scope, receive, send)
            return
        try:
            if (path := path_of(scope)) not in STEERED_PATHS and not path.startswith(OWN_PATHS):
                refuse_ours(b"".join(message.get("body", b"") for message in messages))
        except InvalidInput as error:
            await error_response(error)(scope, receive, send)
            return
        await self.app(scope, replay(messages, receive), send)

    async def read(self, receive: Receive) -> list[Message] | None:
        """All messages of the body; None where it is too large."""
        messages: list[Message] = []
        size = 0
        while True:
            messages.append(message := await receive())
            size += len(message.get("body", b""))
            if size > self.max_body:
                return None
            if not message.get("more_body", False):
                return messages


def path_of(scope: Scope) -> str:
    """The path as the routes see it: without the prefix of a proxy or of the app that ours is mounted in."""
    path, root = scope["path"], scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def is_json(scope: Scope) -> bool:
    return "json" in Headers(scope=scope).get("content-type", "")


def replay(messages: list[Message], receive: Receive) -> Receive:
    """A ``receive`` that returns the messages which were read already, then those that follow."""
    waiting = iter(messages)

    async def receive_again() -> Message:
        return next(waiting, None) or await receive()

    return receive_again


def refuse_ours(body: bytes) -> None:
    """Refuses a body that asks for steering on a route that does not steer. Raises InvalidInput."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    refuse_reserved(content)
    for key in KEYS:
        if content.get(key):
            where = ", ".join(STEERED_PATHS)
            raise InvalidInput(f"{key!r} works on {where}; here it would be ignored, so nothing was run", param=key)
