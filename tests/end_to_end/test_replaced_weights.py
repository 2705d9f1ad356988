"""Weights are replaced under load, by vLLM's own routes: no answer comes steered without saying so."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.features import State
from featurehub.store import Calibration, FeatureRow, Provenance, open_store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.engine.conftest import PROMPTS
from tests.engine.world import unit_dictionary
from tests.labels import labeled

pytestmark = pytest.mark.engine

NAME, TOKENS, USERS = "weather", 24, 6


class Answer(NamedTuple):
    """What one request got: when it was sent and answered, in order of events, its text, state and warnings."""

    sent: int
    done: int
    status: int
    text: str
    state: str
    warnings: tuple[str, ...]


class Server(NamedTuple):
    url: str
    log: Path
    database: str
    sae: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled model with a random SAE that has one feature, and vLLM's routes that replace weights."""
    folder = tmp_path_factory.mktemp("replaced")
    artifact, database = made(folder / "sae"), str(folder / "features.db")
    register(artifact, database)
    model = shutil.copytree(bundled_model(), folder / "demo")
    command = [str(model), "--sae", str(artifact.folder), "--db", database, "--eager"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_SERVER_DEV_MODE", "1")
        # An engine that was opened in this process before has silenced vLLM's log for its children too.
        patch.setenv("VLLM_LOGGING_LEVEL", "WARNING")
        with served(command, free_port(), folder / "log") as url:
            yield Server(url, folder / "log", database, artifact.manifest.id)


def made(folder: Path) -> Artifact:
    folder.mkdir()
    dictionary = unit_dictionary(0, 192, 16, 0.5)
    dictionary.save(folder / WEIGHTS)
    hook = HookPoint(layer=3)
    fields = {
        "name": "random", "architecture": "batchtopk", "d_model": 192, "d_sae": 16, "k": 4.0, "hook": hook,
        "model": identify(bundled_model(), hook), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


def register(artifact: Artifact, database: str) -> None:
    by_hand = Provenance(author="test", method="by hand")
    with closing(open_store(database)) as store, store.write() as writer:
        writer.put_artifact(artifact.manifest, str(artifact.folder))
        [id] = writer.put_features(artifact.manifest.id, [FeatureRow(latent=2, density=0.1, max_activation=3.0)])
        writer.put_labels({id: (labeled(NAME, score=0.9), by_hand)})
        writer.put_calibration(id, Calibration(strength=4.0, dose=0.3, steerability=0.8))


def reload(server: Server, folder: Path) -> None:
    body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
    httpx.post(f"{server.url.removesuffix('/v1')}/collective_rpc", json=body, timeout=120).raise_for_status()


def listed(server: Server) -> dict[str, Any]:
    return httpx.get(f"{server.url}/saes").json()


async def ask(client: httpx.AsyncClient, events: list[None], at: int) -> Answer:
    sent = len(events)
    body = {
        "model": "demo", "messages": [{"role": "user", "content": PROMPTS[at % 3]}],
        "features": {NAME: 0.8}, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True,
    }  # fmt: skip
    found = await client.post("/chat/completions", json=body)
    told = found.json()
    if found.status_code != 200:
        return Answer(sent, len(events), found.status_code, "", "", ())
    ours = told["featurehub"]
    codes = tuple(each["code"] for each in ours["warnings"])
    return Answer(sent, len(events), 200, told["choices"][0]["message"]["content"], ours["applied"][0]["state"], codes)


async def under_load(server: Server, folders: list[Path]) -> list[Answer]:
    """Users ask one question after another while the weights are replaced; an event is a replacement, begun or done."""
    events: list[None] = []
    answers: list[Answer] = []
    done = asyncio.Event()

    async def user(client: httpx.AsyncClient, number: int) -> None:
        at = number
        while not done.is_set():
            answers.append(await ask(client, events, at))
            at += USERS

    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        users = [asyncio.create_task(user(client, number)) for number in range(USERS)]
        for folder in folders:
            await until(answers, 3 * USERS, lambda each: True)
            events.append(None)
            await asyncio.to_thread(reload, server, folder)
            events.append(None)
        await until(answers, USERS, lambda each: each.warnings == ("feature_unchecked",))
        done.set()
        await asyncio.gather(*users)
    return answers


async def until(answers: list[Answer], count: int, holds: Callable[[Answer], bool]) -> None:
    """Waits until so many more answers are of a kind."""
    before = len(answers)
    async with asyncio.timeout(120):
        while sum(map(holds, answers[before:])) < count:
            await asyncio.sleep(0.05)


def test_no_answer_comes_steered_by_other_weights_without_saying_so(server: Server) -> None:
    before = listed(server)
    assert before["data"][0]["state"] == "fresh"
    assert not before["weights"]["replaced"]
    answers = asyncio.run(under_load(server, [sibling("changed")]))
    assert {each.status for each in answers} == {200}
    counts = Counter((each.sent, each.done, each.state, each.warnings) for each in answers)
    silent = [each for each in answers if each.done > 0 and each.state == "fresh" and each.sent > 1]
    assert silent == [], counts
    old = {each.text for each in answers if each.done == 0}
    assert len(old) >= 2
    # Whatever was not wholly computed before the weights were replaced says so, or is one of the old model's answers.
    assert all(each.text in old for each in answers if each.state == "fresh"), counts
    assert any("weights_replaced" in each.warnings for each in answers), counts
    after = listed(server)
    assert {each["state"] for each in after["data"] if each["loaded"]} == {"unchecked"}
    assert after["weights"]["replaced"]
    assert after["weights"]["loaded"] != after["weights"]["booted"] == before["weights"]["booted"]
    log = server.log.read_text()
    assert "the weights on the device were replaced" in log
    assert "every SAE is unchecked" in log
    assert "featurehub_weights_replaced 1.0" in httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text


def test_a_report_on_the_new_weights_counts_once_they_are_there(server: Server) -> None:
    """A stale feature is refused, though the server began with another model; with the old weights it is fresh."""
    reload(server, sibling("changed"))
    wait(server, lambda found: found["weights"]["replaced"])
    verdict = FeatureVerdict(latent=2, label=NAME, reads=State.STALE, steers=State.UNCHECKED, reason="gone")
    report = DriftReport(
        id="on-new", artifact=server.sae, model="changed", fingerprint="f" * 64, created="2026-01-03",
        state=State.STALE, reason="measured", metrics={}, weights=listed(server)["weights"]["loaded"],
        features=(verdict,),
    )  # fmt: skip
    with closing(open_store(server.database)) as store, store.write() as writer:
        writer.put_report(report)
    reload(server, bundled_model())
    wait(server, lambda found: not found["weights"]["replaced"])
    assert steer(server).json()["featurehub"]["warnings"] == []
    reload(server, sibling("changed"))
    wait(server, lambda found: found["data"][0]["state"] == "stale")
    refused = steer(server)
    assert refused.status_code == 409
    assert report.id in refused.text


def steer(server: Server) -> httpx.Response:
    chat = [{"role": "user", "content": "tell me something ."}]
    body = {"model": "demo", "messages": chat, "features": {NAME: 0.5}, "max_tokens": 4}
    return httpx.post(f"{server.url}/chat/completions", json=body, timeout=60)


def wait(server: Server, holds: Any) -> None:
    for _ in range(20):
        if holds(listed(server)):
            return
        asyncio.run(asyncio.sleep(0.5))
    raise AssertionError(listed(server))
