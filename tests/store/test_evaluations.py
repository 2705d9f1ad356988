"""What artifacts scored: kept in order, gone with the artifact."""

import pytest
from sqlalchemy import text

from featurehub.errors import ArtifactNotFound
from featurehub.store import Evaluation, Store

ARTIFACT = "a" * 64


def evaluation(ev: float, artifact: str = ARTIFACT) -> Evaluation:
    return Evaluation(
        artifact=artifact, fingerprint="f" * 64, model="demo", text="corpus.txt", text_hash="c" * 64,
        metrics={"explained_variance": ev, "ce_score": 0.9}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def test_evaluations_come_back_latest_first(store: Store, make_manifest) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest(), "/nowhere")
        for ev in (0.1, 0.2, 0.2):
            writer.put_evaluation(evaluation(ev))
    with store.read() as reader:
        assert reader.evaluations("demo-l2") == [evaluation(ev) for ev in (0.2, 0.2, 0.1)]


def test_they_go_with_their_artifact(store: Store, make_manifest) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest(), "/nowhere")
        writer.put_evaluation(evaluation(0.1))
        writer.remove_artifact(ARTIFACT)
        assert writer._session.scalar(text("SELECT count(*) FROM evaluations")) == 0


def test_an_evaluation_needs_its_artifact(store: Store) -> None:
    with store.write() as writer, pytest.raises(ArtifactNotFound):
        writer.put_evaluation(evaluation(0.1))
    with store.read() as reader, pytest.raises(ArtifactNotFound):
        reader.evaluations(ARTIFACT)
