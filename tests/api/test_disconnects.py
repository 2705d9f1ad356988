"""A client that goes away ends the long work that it asked for: nothing of it runs on, and no report is left behind."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.goodfire.routes import PREFIX
from api.model import ServedModel
from featurehub.edits import Steering
from featurehub.store import Store
from tests.api.conftest import SAE
from tests.api.models import HOME, model

CHAT = [{"role": "user", "content": "tell me a story"}]
SETS = {"dataset_1": [CHAT], "dataset_2": [CHAT]}
LONG: dict[str, dict[str, Any]] = {
    "/v1/features/attribute": {"messages": CHAT},
    "/v1/features/contrast": SETS,
    "/v1/features/autosteer": {"instruction": "be brief"},
    "/v1/features/autoconditional": {"condition": "the user talks about banking"},
    f"{PREFIX}/attributions/compute-logit-attribution": {
        "messages": CHAT, "model": "demo", "startIndex": 3, "endIndex": 3
    },
    f"{PREFIX}/chat-attribution/contrast": SETS | {"model": "demo"},
    f"{PREFIX}/attributions/generate-contrastive-dataset": {"specification": "be brief"},
    f"{PREFIX}/features/auto-edits": {"specification": "be brief", "model": "demo"},
    f"{PREFIX}/features/auto-conditional": {"specification": "banking", "model": "demo"},
}  # fmt: skip


class Slow(FakeEngine):
    """Reads and answers for ever, and counts what it is given and what was given up."""

    begun = ended = 0

    async def for_ever(self) -> None:
        self.begun += 1
        try:
            await asyncio.sleep(60)
        finally:
            self.ended += 1

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        await self.for_ever()
        return {}

    async def generate(self, token_ids: Sequence[int], steering: Steering, **options: Any) -> list[int]:
        await self.for_ever()
        return []


def app_of(store: Store, engine: FakeEngine) -> FastAPI:
    fields = {"store": "unused", "saes": [SAE], "on_stale": "warn", "names": ("demo",), "model": model(HOME)}
    return create_fake_app(store, ServedModel.model_validate(fields), engine)


async def leave(app: FastAPI, path: str, body: dict[str, Any], is_time: Callable[[], bool]) -> None:
    """Asks, and hangs up when it is time."""
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        while not is_time():
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST",
        "path": path, "raw_path": b"", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"application/json")], "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip
    with suppress(ClientDisconnect):
        await app(scope, receive, send)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", LONG)
def test_its_work_ends_with_it(path: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.analysis.together.EVERY", 0.01)
    engine = Slow()
    app = app_of(store, engine)
    asyncio.run(asyncio.wait_for(leave(app, path, LONG[path], lambda: engine.begun > 0), 20))
    assert engine.ended == engine.begun > 0
    assert not app.state.featurehub.measuring.locked()


def test_drawing_a_contrastive_dataset_waits_for_its_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws many answers, as AutoSteer does: one such request at a time."""
    monkeypatch.setattr("api.analysis.together.EVERY", 0.01)
    engine = Slow()
    app = app_of(store, engine)
    path = f"{PREFIX}/attributions/generate-contrastive-dataset"

    async def both() -> None:
        async with app.state.featurehub.measuring:
            waited = asyncio.get_running_loop().time() + 0.2
            await leave(app, path, LONG[path], lambda: asyncio.get_running_loop().time() > waited)

    asyncio.run(asyncio.wait_for(both(), 20))
    assert engine.begun == 0
