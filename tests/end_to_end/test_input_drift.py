"""A server whose traffic changes its topics says so, and says nothing while it stays as it is."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model
from featurehub.demo.lexicon import base_lexicon
from tests.end_to_end.test_replaced_weights import register
from tests.engine.world import unit_dictionary

pytestmark = pytest.mark.engine

KEY, D_SAE = "operators only", 64
SENDERS = 3
SECONDS = 400
"""How long anything may take; some thirty seconds, unless the machine is busy."""


class Place(NamedTuple):
    """What servers of these tests share."""

    folder: Path
    artifact: Artifact

    @property
    def command(self) -> list[str]:
        """Arguments of the server. A share of a fifth, so that tests need not wait for a hundredth."""
        options = ["--input-drift-budget", "20%", "--input-drift-requests", "128"]
        paths = ["--sae", str(self.artifact.folder), "--db", str(self.folder / "features.db")]
        return [str(bundled_model()), *paths, "--eager", *options]

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was written into the log of events."""
        return [json.loads(line) for line in (self.state / "events.jsonl").read_text().splitlines()]

    @property
    def state(self) -> Path:
        """Where the server keeps what it knows."""
        return self.folder / "features.input-drift"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The bundled model with a random SAE, some of whose latents fire on some topics only."""
    folder = tmp_path_factory.mktemp("traffic")
    (folder / "sae").mkdir()
    unit_dictionary(0, 192, D_SAE, 2.0).save(folder / "sae" / WEIGHTS)
    hook = HookPoint(layer=3)
    fields = {
        "name": "random", "architecture": "batchtopk", "d_model": 192, "d_sae": D_SAE, "k": 4.0, "hook": hook,
        "model": identify(bundled_model(), hook), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    artifact = seal(folder / "sae", fields)
    register(artifact, str(folder / "features.db"))
    return Place(folder, artifact)


@contextmanager
def server(place: Place, log: str) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
        # An engine that was opened in this process before has silenced vLLM's log for its children too.
        patch.setenv("VLLM_LOGGING_LEVEL", "WARNING")
        with served(place.command, free_port(), place.folder / log) as url:
            yield url


@contextmanager
def sending(url: str, topics: Sequence[str], seed: int) -> Iterator[None]:
    """Sends requests about these topics, one after the other, while the block runs: some steered, most not."""
    done = threading.Event()

    def send(number: int) -> None:
        generator = random.Random(seed + number)
        with httpx.Client(base_url=url, timeout=60) as client:
            while not done.is_set():
                text = f"please tell me about {generator.choice(topics)} and {generator.choice(topics)} ."
                body = {"model": bundled_model().name, "messages": [{"role": "user", "content": text}], "max_tokens": 1}
                steered = {"features": {"weather": 0.5}} if generator.random() < 0.3 else {}
                client.post("/chat/completions", json={**body, **steered}).raise_for_status()

    with ThreadPoolExecutor(SENDERS) as pool:
        running = [pool.submit(send, 100 * number) for number in range(SENDERS)]
        try:
            yield
        finally:
            done.set()
            for each in running:
                each.result()


def said(url: str) -> dict[str, Any]:
    return httpx.get(f"{url}/saes/random/input_drift").raise_for_status().json()


def until(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is said once something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds(found := said(url)):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


def gauges(url: str) -> dict[str, float]:
    text = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("featurehub_input_drift"))
    return {name: float(value) for name, value in lines}


def test_other_topics_are_an_alarm_and_the_same_ones_are_none(place: Place) -> None:
    names = sorted(base_lexicon().fields)
    usual, others = names[: len(names) // 2], names[len(names) // 2 :]
    sae = place.artifact.manifest.id
    with server(place, "log") as url:
        assert said(url)["state"] == "learning"
        with sending(url, usual, 0):
            learned = until(url, lambda found: found["state"] != "learning")
            assert (learned["state"], learned["reference"]["requests"]) == ("normal", 128)
            assert 4 * 128 <= learned["reference"]["tokens"] <= 16 * 128
            same = until(url, lambda found: found["tested"]["requests"] >= 128)
            assert same["state"] == "normal"
        with sending(url, others, 1):
            alarm = until(url, lambda found: found["state"] != "normal")
        assert alarm["state"] == "topics"
        assert alarm["moved"]
        assert alarm["tested"]["requests"] - same["tested"]["requests"] <= 320
        shown = gauges(url)
        assert shown[f'featurehub_input_drift_state{{sae="{sae}",state="topics"}}'] == 1
        assert shown[f'featurehub_input_drift_evidence{{of="rates",sae="{sae}"}}'] >= alarm["alarm_at"]
        assert 0 < shown["featurehub_input_drift_seconds"] < 0.2 * SECONDS
        assert [each["state"] for each in place.events] == ["learning", "normal", "topics"]
    assert "the traffic that random reads is about other things than before" in (place.folder / "log").read_text()
    # Nothing that was said is kept, by name or as text.
    kept = b"".join(file.read_bytes() for file in place.state.iterdir())
    assert not any(f"about {name}".encode() in kept for name in names)
    with server(place, "log again") as url:
        again = said(url)
        assert (again["state"], again["since"]) == ("topics", alarm["since"])
        begun = httpx.post(f"{url}/saes/random/input_drift", headers={"x-featurehub-key": KEY}).raise_for_status()
        assert begun.json()["state"] == "learning"
        with sending(url, others, 2):
            until(url, lambda found: found["state"] == "normal")
            until(url, lambda found: found["tested"]["requests"] >= 32)
        assert said(url)["state"] == "normal"
