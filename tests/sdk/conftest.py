"""A real server on a loopback socket: our routes around an echo, no model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from api.engine import FakeEngine
from api.fake import Echoes, create_fake_app
from api.model import ServedModel
from featurehub import Client
from featurehub.artifacts.manifest import HookPoint, Manifest
from featurehub.store import Calibration, FeatureRow, Provenance, Store, Writer, open_store
from featurehub.testing.server import listening
from tests.api.models import model
from tests.api.reports import report
from tests.labels import labeled

SAE = "a" * 64
KEY = "operators only"
LABELS = {0: "pirate speech: matey, ship", 1: "formal tone", 2: "banking: loan", 3: "twin", 4: "twin", 5: "<b>bold</b>"}


def fill(writer: Writer) -> None:
    manifest = Manifest(
        id=SAE, name="demo-l2", architecture="batchtopk", d_model=8, d_sae=200, k=4, hook=HookPoint(layer=2),
        model=model(), dataset={}, training={}, metrics={}, files={}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    writer.put_artifact(manifest, "/nowhere")
    rows = [FeatureRow(latent=latent, density=0.01, max_activation=3.0) for latent in range(130)]
    ids = writer.put_features(SAE, rows)
    by_hand = Provenance(author="test", method="by hand")
    writer.put_labels({ids[latent]: (labeled(label, score=0.9), by_hand) for latent, label in LABELS.items()})
    for latent in LABELS:
        writer.put_calibration(ids[latent], Calibration(strength=4.0, dose=0.3, steerability=0.8))


@dataclass
class Running:
    url: str
    engine: FakeEngine
    echoed: Echoes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("store") / "features.db"
    opened = open_store(path)
    with opened.write() as writer:
        fill(writer)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def running(store: Store) -> Iterator[Running]:
    engine = FakeEngine()
    app = create_fake_app(store, ServedModel(store="unused", saes=(SAE,), model=model(), names=("demo",)), engine)
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY)
    with listening(app) as port:
        yield Running(f"http://127.0.0.1:{port}", engine, app.state.echoed)


@pytest.fixture
def server(running: Running) -> Running:
    """The same server, as if it were new."""
    running.engine.default = report(7)
    running.engine.running = True
    running.echoed.clear()
    return running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(base_url=server.url, max_retries=0) as opened:
        yield opened
