"""``fake_server``: featurehub's routes on a loopback socket, around a model that follows rules."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.artifacts.manifest import HookPoint, Manifest, ModelIdentity
from featurehub.store import Calibration, FeatureRow, Label, Labeled, Provenance, Store, open_store
from featurehub.testing.engine import DOSE, WordEngine

__all__ = ["FakeServer", "fake_server", "listening"]

SAE = "f" * 64
HOOK = HookPoint(layer=0)
WIDTH = 1 << 14


class FakeServer(NamedTuple):
    """A server that runs.

    >>> with fake_server(["pirate"], model="m") as server:
    ...     server.model, Client(base_url=server.url).feature("pirate").label
    ('m', 'pirate')

    Attributes:
        url: Its address, for ``Client(base_url=…)``.
        model: The name of its model.
        engine: What stands in for the engine; where ``engine.running`` is False, requests fail with status 503.
    """

    url: str
    model: str
    engine: WordEngine


@contextmanager
def fake_server(
    features: Sequence[str | Label], *, model: str = "fake", reply: Callable[[str], str] = str, operator_key: str = ""
) -> Iterator[FakeServer]:
    """Runs a server for tests on a free port of this machine, in a thread, until the ``with`` block ends.

    >>> with fake_server(["pirate", "formal"], reply=lambda last: last.upper()) as server:
    ...     answer = Client(base_url=server.url).chat.completions.create(model=server.model, messages=chat)
    >>> answer.choices[0].message.content
    'IS MY LOAN SAFE?'

    Args:
        features: Labels of the features that it has, which are those of one SAE by their indices; each fires at the
            words of its label. A text is one name; ``Label(name="banking", further=("loan", "deposit"))`` is found as
            "banking" and fires at the other words, too.
        model: What its model is called; a request for another is answered with status 404.
        reply: What answers a chat, given its last message, or a completion, given its prompt; by default that itself.
        operator_key: What operators must send to save groups and variants; "" refuses them all.

    Raises:
        ValueError: There are no features, or more than 16,384.
    """
    if not 1 <= len(features) <= WIDTH:
        raise ValueError(f"a fake server has 1 to {WIDTH} features, not {len(features)}")
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "features.db")
        try:
            labels = [each if isinstance(each, Label) else Label(name=each) for each in features]
            fill(store, labels, model)
            engine = WordEngine([each.text for each in labels], str(HOOK), reply)
            engine.models = (model,)
            served = ServedModel(store="", saes=(SAE,), model=identity(model), names=(model,))
            app = create_fake_app(store, served, engine)
            app.state.featurehub = replace(app.state.featurehub, operator_key=operator_key)
            with listening(app) as port:
                yield FakeServer(f"http://127.0.0.1:{port}", model, engine)
        finally:
            store.close()


@contextmanager
def listening(app: FastAPI) -> Iterator[int]:
    """Serves an app in a thread, and gives its port once it answers."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("the fake server could not be started")
                time.sleep(0.01)
            yield own.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def fill(store: Store, labels: Sequence[Label], model: str) -> None:
    """Puts an SAE with these features into a database."""
    manifest = Manifest(
        id=SAE, name="fake", architecture="topk", d_model=1, d_sae=WIDTH, k=1, hook=HOOK, model=identity(model),
        dataset={}, training={}, metrics={}, files={}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    rows = [FeatureRow(latent=latent, density=0.01, max_activation=1.0) for latent in range(len(labels))]
    by_hand = Provenance(author="featurehub.testing", method="by hand")
    with store.write() as writer:
        writer.put_artifact(manifest, "/nowhere")
        ids = writer.put_features(SAE, rows)
        writer.put_labels(
            {id: (Labeled(label=label, score=1.0), by_hand) for id, label in zip(ids, labels, strict=True)}
        )
        for id in ids:
            writer.put_calibration(id, Calibration(strength=1.0, dose=DOSE, steerability=1.0))


def identity(model: str) -> ModelIdentity:
    """Of a model that nobody has: on it, the SAE is fresh."""
    same = "f" * 64
    return ModelIdentity(
        name=model, architecture="FakeForCausalLM", d_model=1, layers=1, dtype="float32", reads=same, whole=same,
        tokenizer=same, chat_template=same, tokenization=same, config=same,
    )  # fmt: skip
