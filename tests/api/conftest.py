"""A small feature database, a fake engine, and a server that echoes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes, create_fake_app
from api.model import ServedModel
from featurehub.artifacts.manifest import HookPoint, Manifest
from featurehub.features import State
from featurehub.store import Calibration, FeatureRow, Provenance, Store, Writer, open_store
from tests.api.drift import drift_report
from tests.api.models import HOME, model
from tests.api.reports import report
from tests.labels import labeled

SAE, OTHER_SAE = "a" * 64, "b" * 64
# Weights that a drift check has seen; weights that none has.
CHECKED, UNCHECKED = "n" * 64, "o" * 64
REPORT = report(7)
LABELS = {
    0: "pirate speech: matey, ship",
    1: "formal tone",
    2: "banking: loan, deposit",
    3: "excited tone",
    4: "twin",
    5: "twin",
    7: "formal letters",
}
STRENGTHS = {0: 4.0, 1: 5.0, 2: 3.0, 4: 1.0, 5: 1.0, 7: 2.0}
STATES = {0: State.STALE, 1: State.FRESH, 2: State.SUSPECT, 7: State.STALE}
"""What the drift check found, by latent."""


def manifest(id: str, name: str, layer: int = 2) -> Manifest:
    return Manifest(
        id=id, name=name, architecture="batchtopk", d_model=8, d_sae=16, k=4, hook=HookPoint(layer=layer),
        model=model(), dataset={"name": "corpus", "tokens": 100}, training={}, metrics={"explained_variance": 0.96},
        files={}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def fill(writer: Writer, id: str, name: str, labels: dict[int, str], layer: int = 2) -> None:
    writer.put_artifact(manifest(id, name, layer), "/nowhere")
    rows = [FeatureRow(latent=latent, density=0.01, max_activation=3.0) for latent in (*labels, 6)]
    ids = dict(zip((*labels, 6), writer.put_features(id, rows), strict=True))
    by_hand = Provenance(author="test", method="by hand")
    writer.put_labels({ids[latent]: (labeled(label, score=0.9), by_hand) for latent, label in labels.items()})
    for latent, strength in STRENGTHS.items():
        if latent in labels:
            writer.put_calibration(ids[latent], Calibration(strength=strength, dose=0.3, steerability=0.8))


@pytest.fixture(scope="session")
def filled(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small feature database, which each test has a copy of."""
    file = shutil.copy(empty, tmp_path_factory.mktemp("filled") / "features.db")
    with closing(open_store(file)) as store, store.write() as writer:
        fill(writer, SAE, "demo-l2", LABELS)
        fill(writer, OTHER_SAE, "other", {0: "gardening"}, layer=3)
        writer.put_report(drift_report(SAE, model(CHECKED).function, STATES, LABELS))
    return file


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(shutil.copy(filled, tmp_path / "features.db"))) as store:
        yield store


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(default=REPORT)


@pytest.fixture
def serve(store: Store, engine: FakeEngine) -> Iterator[Callable[..., TestClient]]:
    """A client of a server on the given weights, on a model that is otherwise ``changed``."""
    clients: list[TestClient] = []

    def start(
        whole: str = HOME, on_stale: str = "refuse", overrides: tuple[str, ...] = (), **changed: str
    ) -> TestClient:
        fields = {"store": "unused", "saes": [SAE], "on_stale": on_stale, "overrides": overrides, "names": ("demo",)}
        served = ServedModel.model_validate({**fields, "model": model(whole, **changed)})
        clients.append(TestClient(create_fake_app(store, served, engine), raise_server_exceptions=False))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


@pytest.fixture
def echoed(client: TestClient) -> Echoes:
    return client.app.state.echoed  # type: ignore[attr-defined]
