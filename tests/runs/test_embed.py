"""Embedding features: all of them, once, whatever stops it."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from featurehub.embedding import FakeEmbedder
from featurehub.errors import ArtifactNotFound, EmbedderUnavailable
from featurehub.runs import embed
from featurehub.runs.embed import embed_features, embed_if_possible
from featurehub.store import EmbeddingKind, Store, open_store
from tests.runs.recording import Recording
from tests.store.conftest import fill_artifact

LABELS = {latent: f"label number {latent}" for latent in range(150)}
ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two SAEs with 150 and 3 features, embedded eight at a time."""
    monkeypatch.setattr(embed, "BATCH", 8)
    path = tmp_path / "features.db"
    store = open_store(path)
    with store.write() as writer:
        fill_artifact(writer, LABELS, name="one", id=ONE)
        fill_artifact(writer, {7: "pirate", 8: "banking", 9: "rain"}, name="two", id=TWO)
    store.close()
    return path


def vectors(store: Store) -> dict[tuple[str, str], bytes]:
    with store.read() as reader:
        rows = reader._session.execute(text("SELECT feature_id, kind, vector FROM embeddings")).all()
    return {(row.feature_id, row.kind): row.vector for row in rows}


def test_every_feature_gets_the_vectors_of_its_texts(database: Path) -> None:
    store, embedder, progress = open_store(database), FakeEmbedder(), Recording()
    assert embed_features(store, embedder, "two", progress) == {"two": 6}
    assert embed_features(store, embedder) == {"one": 300}
    assert embed_features(store, embedder) == {}
    with store.read() as reader:
        label = {each.id: each.label for each in reader.features(ONE)}
    found = vectors(store)
    assert len(found) == 306
    for id, name in label.items():
        stored = np.frombuffer(found[id, EmbeddingKind.LABEL], np.float16)
        assert stored == pytest.approx(embedder.embed([name])[0], abs=1e-3)
    with pytest.raises(ArtifactNotFound):
        embed_features(store, embedder, "three")
    store.close()


def test_another_embedder_begins_anew(database: Path) -> None:
    store = open_store(database)
    embed_features(store, FakeEmbedder())
    assert embed_features(store, FakeEmbedder(identity="other", dimensions=8), "two") == {"two": 6}
    with store.read() as reader:
        assert {id: (each.embedder, each.dimensions) for id, each in reader.embedders().items()} == {
            ONE: ("fake", 64), TWO: ("other", 8),
        }  # fmt: skip
    store.close()


class Slow(FakeEmbedder):
    """Takes a while, so that it can be killed anywhere."""

    def embed(self, texts):
        time.sleep(0.002)
        return super().embed(texts)


def test_a_process_that_is_killed_at_any_moment_leaves_what_can_be_gone_on_with(database: Path) -> None:
    drawn, counts = random.Random(0), [0]
    for _ in range(20):
        if (child := os.fork()) == 0:
            store = open_store(database)
            embed_features(store, Slow())
            os._exit(0)
        time.sleep(drawn.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        store = open_store(database)
        counts.append(len(vectors(store)))
        store.close()
    assert counts == sorted(counts)
    store = open_store(database)
    stored = sum(embed_features(store, FakeEmbedder()).values())
    assert counts[-1] + stored == 306
    again = open_store(database)
    with again.write() as writer:
        writer.vectors.begin(ONE, "other", 64)
    with again.write() as writer:
        writer.vectors.begin(ONE, "fake", 64)
    before = vectors(store)
    assert embed_features(again, FakeEmbedder()) == {"one": 300}
    assert vectors(again) | before == vectors(again)
    store.close()
    again.close()


def test_a_run_ends_well_without_an_embedder(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(FakeEmbedder):
        def embed(self, texts):
            raise EmbedderUnavailable("no answer")

    progress = Recording()
    monkeypatch.setattr(embed, "chosen_embedder", lambda: None)
    embed_if_possible(str(database), TWO, progress)
    monkeypatch.setattr(embed, "chosen_embedder", Gone)
    embed_if_possible(str(database), TWO, progress)
    assert any("features embed" in each and "no answer" in each for each in progress.warnings)
    monkeypatch.setattr(embed, "chosen_embedder", FakeEmbedder)
    embed_if_possible(str(database), TWO, progress)
    store = open_store(database)
    assert len(vectors(store)) == 6
    store.close()
