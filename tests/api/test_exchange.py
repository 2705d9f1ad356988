"""SAEs come and go on a server that runs: in which order, and what requests get meanwhile."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import exchange
from api.engine import FakeEngine
from api.exchange import serve_saes
from api.fake import create_fake_app
from api.model import ServedModel
from api.users import Users
from featurehub.artifacts.artifact import Artifact
from featurehub.errors import ArtifactNotFound, IncompatibleArtifact, InvalidInput
from featurehub.store import Store
from tests.api.conftest import OTHER_SAE, SAE, manifest
from tests.api.models import model
from tests.api.reports import OTHER_HOOK, counts, report

KEY = {"x-featurehub-key": "secret"}
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
FOLDERS = {SAE: "demo-l2", OTHER_SAE: "other"}


@pytest.fixture(autouse=True)
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the registered SAEs are whole."""

    def opened(id: str, folder: Path, served: ServedModel) -> Artifact:
        return Artifact(folder, manifest(id, FOLDERS[id], 2 if id == SAE else 3))

    monkeypatch.setattr(exchange, "checked", opened)


@pytest.fixture
def client(store: Store, engine: FakeEngine) -> Iterator[TestClient]:
    served = ServedModel(store="", saes=(SAE,), model=model(), names=("demo",))
    app = create_fake_app(store, served, engine)
    app.state.featurehub = replace(app.state.featurehub, operator_key="secret")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def serve(client: TestClient, *saes: str, status: int = 200, key: dict[str, str] = KEY) -> dict[str, Any]:
    answer = client.post("/v1/saes", json={"saes": saes}, headers=key)
    assert answer.status_code == status, answer.text
    return answer.json()


def ask(client: TestClient, name: str, **keys: Any) -> Any:
    return client.post("/v1/chat/completions", json=CHAT | {"features": {name: 0.5}} | keys)


def test_one_is_added_and_taken_away_again(client: TestClient, engine: FakeEngine) -> None:
    assert ask(client, "gardening").status_code == 404
    listed = serve(client, "other", "demo-l2")["data"]
    assert [(each["name"], each["loaded"]) for each in listed] == [("other", True), ("demo-l2", True)]
    assert engine.exchanged == [
        ("add", {OTHER_SAE}), ("admit only", {SAE, OTHER_SAE}), ("keep only", {SAE, OTHER_SAE}),
    ]  # fmt: skip
    engine.default = {"requests": [0], "hooks": {OTHER_HOOK: counts(7)}}
    assert ask(client, "gardening").json()["featurehub"]["applied"][0]["sae"] == OTHER_SAE
    listed = serve(client, "demo-l2")["data"]
    assert [each["name"] for each in listed if each["loaded"]] == ["demo-l2"]
    assert engine.exchanged[3:] == [("add", set()), ("admit only", {SAE}), ("keep only", {SAE})]
    assert ask(client, "gardening").status_code == 404
    engine.default = report(7)
    assert ask(client, "pirate speech").status_code == 200


def test_one_is_replaced(client: TestClient, engine: FakeEngine) -> None:
    assert [each["name"] for each in serve(client, "other")["data"] if each["loaded"]] == ["other"]
    assert [saes for _, saes in engine.exchanged] == [{OTHER_SAE}] * 3
    assert ask(client, "pirate speech").status_code == 404
    assert [each["name"] for each in client.get("/healthz").json()["saes"]] == ["other"]


@pytest.mark.parametrize(
    ("saes", "status", "message"),
    [
        (["nobody"], 404, "nobody"),
        (["other", OTHER_SAE], 400, "again; name it once"),
        ([], 400, ""),
        (["x" * 201], 400, ""),
        (["other"] * 65, 400, ""),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    client: TestClient, engine: FakeEngine, saes: list[str], status: int, message: str
) -> None:
    assert message in serve(client, *saes, status=status)["error"]["message"]
    assert not engine.exchanged
    assert ask(client, "pirate speech").status_code == 200


@pytest.mark.parametrize("key", [{}, {"x-featurehub-key": ""}, {"x-featurehub-key": "secre"}])
def test_only_operators_may(client: TestClient, engine: FakeEngine, key: dict[str, str]) -> None:
    error = serve(client, "other", status=403, key=key)["error"]
    assert (error["code"], "FEATUREHUB_OPERATOR_KEY" in error["message"]) == ("forbidden", True)
    assert not engine.exchanged


def test_nobody_may_where_there_is_no_key(client: TestClient) -> None:
    app: Any = client.app
    app.state.featurehub = replace(app.state.featurehub, operator_key="")
    for key in (KEY, {"x-featurehub-key": ""}):
        serve(client, "other", status=403, key=key)


def test_a_server_without_an_engine_cannot(store: Store) -> None:
    app = create_fake_app(store, None, None)
    app.state.featurehub = replace(app.state.featurehub, operator_key="secret")
    serve(TestClient(app), "other", status=501)


class SlowEngine(FakeEngine):
    """Notes what names meant, and who ran, when each thing was done."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...], int]] = []
        self.state: Any = None

    def note(self, what: str) -> None:
        here = self.state.featurehub
        self.seen.append((what, here.served.saes, here.users.counts[SAE]))

    async def add(self, artifacts: Any) -> None:
        self.note("add")

    def admit_only(self, saes: Collection[str]) -> None:
        self.note("admit only")

    async def keep_only(self, saes: Collection[str]) -> None:
        self.note("keep only")


@pytest.fixture
def slow(store: Store) -> SlowEngine:
    engine = SlowEngine()
    app = create_fake_app(store, ServedModel(store="", saes=(SAE,), model=model()), engine)
    engine.state = app.state
    return engine


def test_an_sae_is_kept_for_those_who_use_it(slow: SlowEngine) -> None:
    """Names mean the new SAEs only once these are there; the old one goes when its last request has ended."""

    async def run() -> None:
        users = slow.state.featurehub.users
        users.come([SAE])
        task = asyncio.create_task(serve_saes([OTHER_SAE], slow.state))
        while slow.state.featurehub.served.saes != (OTHER_SAE,):
            await asyncio.sleep(0.01)
        with pytest.raises(InvalidInput, match="under way"):
            await serve_saes([SAE], slow.state)
        await asyncio.sleep(0.1)
        assert [what for what, *_ in slow.seen] == ["add", "admit only"]
        users.go([SAE])
        await task

    asyncio.run(run())
    assert slow.seen == [("add", (SAE,), 1), ("admit only", (SAE,), 1), ("keep only", (OTHER_SAE,), 0)]


def test_patience_ends(slow: SlowEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.1)
    slow.state.featurehub.users.come([SAE])
    asyncio.run(serve_saes([OTHER_SAE], slow.state))
    assert slow.seen[-1] == ("keep only", (OTHER_SAE,), 1)


@pytest.mark.parametrize("error", [ArtifactNotFound("gone"), IncompatibleArtifact("does not fit")])
def test_an_sae_that_cannot_be_had_leaves_all_as_it_was(
    slow: SlowEngine, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(id: str, folder: Path, served: ServedModel) -> Artifact:
        raise error

    monkeypatch.setattr(exchange, "checked", refuse)
    with pytest.raises(type(error)):
        asyncio.run(serve_saes([OTHER_SAE], slow.state))
    assert (slow.seen, slow.state.featurehub.served.saes) == ([], (SAE,))
    assert not slow.state.featurehub.exchanging.locked()


@pytest.mark.parametrize(
    "asking",
    [
        lambda client: ask(client, "pirate speech"),
        lambda client: ask(client, "pirate speech", stream=True),
        lambda client: ask(client, "pirate speech", model="unknown"),
        lambda client: ask(client, "pirate speech", return_activations={"top_k": 1}),
        lambda client: ask(client, "nothing like it"),
    ],
)
def test_every_request_is_counted_until_it_ends(client: TestClient, asking: Callable[[TestClient], Any]) -> None:
    """Answered, streamed, refused by vLLM, withheld, or never begun."""
    app: Any = client.app
    asking(client)
    assert not +app.state.featurehub.users.counts


def test_users_are_waited_for() -> None:
    async def run() -> tuple[bool, bool, bool]:
        users = Users()
        users.come(["a", "b"])
        free, held = await users.ended({"c"}, 0.0), await users.ended({"a"}, 0.06)
        asyncio.get_running_loop().call_later(0.1, users.go, ["a", "b"])
        return free, held, await users.ended({"a"}, 60.0)

    assert asyncio.run(run()) == (True, False, True)
