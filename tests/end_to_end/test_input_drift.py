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
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModelForCausalLM, AutoTokenizer

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model
from featurehub.demo.lexicon import base_lexicon
from featurehub.dictionary import Dictionary
from tests.end_to_end.test_replaced_weights import NAME, register

pytestmark = pytest.mark.engine

KEY, LAYER = "operators only", 3
TOPICS = ("banking", "cooking", "football", "music")
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
    """The bundled model with an SAE that has a latent for each topic."""
    folder = tmp_path_factory.mktemp("traffic")
    (folder / "sae").mkdir()
    dictionary().save(folder / "sae" / WEIGHTS)
    hook = HookPoint(layer=LAYER)
    fields = {
        "name": "topics", "architecture": "batchtopk", "d_model": 192, "d_sae": len(TOPICS), "k": 4.0, "hook": hook,
        "model": identify(bundled_model(), hook), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    artifact = seal(folder / "sae", fields)
    register(artifact, str(folder / "features.db"))
    return Place(folder, artifact)


def dictionary() -> Dictionary:
    """A latent for each topic, active at four fifths of the tokens of texts about it: the mean of their streams."""
    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    model = AutoModelForCausalLM.from_pretrained(bundled_model(), dtype=torch.float32)
    streams: list[Tensor] = []
    for topic in TOPICS:
        generator = random.Random(topic)
        ids = [tokenizer(text_about([topic], generator), return_tensors="pt").input_ids for _ in range(20)]
        with torch.no_grad():
            runs = [model(each, output_hidden_states=True).hidden_states[LAYER + 1][0, 1:] for each in ids]
        streams.append(torch.cat(runs))
    center = torch.cat(streams).mean(0)
    rows = normalize(torch.stack([x.mean(0) - center for x in streams]), dim=-1)
    thresholds = [((x - center) @ row).quantile(0.2) for x, row in zip(streams, rows, strict=True)]
    return Dictionary(rows, rows, torch.zeros(len(TOPICS)), center, torch.stack(thresholds).clamp(min=0.0))


def text_about(topics: Sequence[str], generator: random.Random) -> str:
    """Some words of one of these topics."""
    field = base_lexicon().fields[generator.choice(topics)]
    words = [word for own in field.words.values() for word in own]
    return " ".join(generator.choices(words, k=16))


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
                chat = [{"role": "user", "content": text_about(topics, generator)}]
                body = {"model": bundled_model().name, "messages": chat, "max_tokens": 1}
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
    return httpx.get(f"{url}/saes/topics/input_drift").raise_for_status().json()


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
    usual, others = TOPICS[:2], TOPICS[2:]
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
        assert NAME in {each["name"] for each in alarm["moved"]}
        assert all(each["rate"]["now"] > each["rate"]["before"] for each in alarm["moved"] if each["latent"] >= 2)
        assert alarm["tested"]["requests"] - same["tested"]["requests"] <= 320
        shown = gauges(url)
        assert shown[f'featurehub_input_drift_state{{sae="{sae}",state="topics"}}'] == 1
        assert shown[f'featurehub_input_drift_evidence{{of="rates",sae="{sae}"}}'] >= alarm["alarm_at"]
        assert 0 < shown["featurehub_input_drift_seconds"] < 0.2 * SECONDS
        assert [each["state"] for each in place.events] == ["learning", "normal", "topics"]
    assert "the traffic that topics reads is about other things than before" in (place.folder / "log").read_text()
    # Nothing that was said is kept, by name or as text.
    kept = b"".join(file.read_bytes() for file in place.state.iterdir())
    assert not any(word.encode() in kept for word in ("banker", "treasury", "referee"))
    with server(place, "log again") as url:
        again = said(url)
        assert (again["state"], again["since"]) == ("topics", alarm["since"])
        begun = httpx.post(f"{url}/saes/topics/input_drift", headers={"x-featurehub-key": KEY}).raise_for_status()
        assert begun.json()["state"] == "learning"
    assert place.events[-1]["state"] == "learning"
