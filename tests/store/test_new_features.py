"""All features of a new SAE at once: the database is as if they had been put there step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.records import FeatureRow
from featurehub.store import (
    Calibration,
    FeatureSet,
    NewFeatures,
    Provenance,
    Store,
    Unlabeled,
    Writer,
    bulk,
    put_named,
)  # fmt: skip
from featurehub.store.naming import TakenSlugs
from tests.labels import labeled
from tests.store.conftest import PROVENANCE, build_manifest, build_row
from tests.store.undone import undone

LABELS = (
    "bank: loan", "Bank: river", "bank", "貸付", "latent 9", "bank-2", None, "貸付: 銀行", "", "a\tb\\c", "sea: x\ny",
)  # fmt: skip
UNLABELED = Unlabeled(reason="nothing tells")


def feature_set(rows: Sequence[FeatureRow] = ()) -> FeatureSet:
    """Features out of order, whose names and slugs collide; None is without an attempt, "" a reason."""
    latents = [each for each in reversed(range(len(LABELS))) if each != 5] + [5]
    labels = {
        at: (labeled(label, score=at / 10, scores={"x": 0.5}) if label else UNLABELED, PROVENANCE)
        for at, label in enumerate(LABELS)
        if label is not None
    }
    calibrations = {
        1: Calibration(strength=2.0, dose=0.3, steerability=0.4, method="steered", answers=8),
        8: Calibration(strength=1.0, dose=0.2),
    }
    manifest = build_manifest(d_sae=len(LABELS))
    return FeatureSet(
        manifest, Path("/x"), rows or [build_row(at, f"some {at}") for at in latents], labels, calibrations
    )


def step_by_step(writer: Writer, features: FeatureSet) -> None:
    writer.put_artifact(features.manifest, features.folder)
    writer.put_features(features.manifest.id, features.rows)
    put_named(writer, features.manifest.id, features.labels, features.calibrations)


def at_once(writer: Writer, features: FeatureSet) -> None:
    writer.put_artifact(features.manifest, features.folder)
    writer.add_features(NewFeatures(features))


def seen(writer: Writer) -> list[Any]:
    """All that readers find of the features, except when they were labelled."""
    reader = writer.reader
    details = [reader.details(each.id) for each in reader.features("a" * 64)]
    versions = [[(v.version, v.outcome, v.provenance) for v in each.labels] for each in details]
    found = [reader.search(words) for words in ("bank", "some", "貸付", "loan", "9", "")]
    return [[each.model_copy(update={"labels": ()}) for each in details], versions, found, reader.feature_set("a" * 64)]


def test_what_has_no_text_has_no_row_for_it(store: Store) -> None:
    bare = [FeatureRow(latent=0, density=0.1, max_activation=1.0), build_row(1, "some words")]
    with undone(store) as writer:
        writer.put_artifact(feature_set().manifest, "/x")
        writer.add_features(NewFeatures(feature_set(bare)._replace(labels={}, calibrations={})))
        assert writer._session.scalar(text("SELECT count(*) FROM texts")) == 1
        assert [each.latent for each in writer.reader.search("some").features] == [1]
        writer.put_features("a" * 64, [bare[0], bare[0].model_copy(update={"latent": 1})])
        assert writer._session.scalar(text("SELECT count(*) FROM texts")) == 0
        assert writer.reader.search("some").features == ()
        writer.put_features("a" * 64, bare)
        assert [each.latent for each in writer.reader.search("some").features] == [1]


def test_it_ends_as_step_by_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with undone(store) as writer:
        step_by_step(writer, feature_set())
        expected = seen(writer)
    for batch in (bulk.BATCH, 3):
        monkeypatch.setattr(bulk, "BATCH", batch)
        with undone(store) as writer:
            at_once(writer, feature_set())
            assert seen(writer) == expected
    slugs = [each.feature.slug for each in expected[0]]
    assert slugs == ["bank", "bank-2", "bank-3", "latent-3", "latent-9", "bank-2-2", "latent-6", "latent-7", "latent-8",
                     "a-b-c", "sea"]  # fmt: skip


def test_what_does_not_fit_is_refused(store: Store) -> None:
    row = build_row(len(LABELS))
    with pytest.raises(FeatureNotFound, match="latent 0"):
        NewFeatures(feature_set([row]))
    with store.write() as writer:
        at_once(writer, feature_set())
        with pytest.raises(InvalidInput, match="has features already"):
            at_once(writer, feature_set())
    with undone(store) as writer:
        writer.remove_artifact("a" * 64)
        with pytest.raises(InvalidInput, match="outside"):
            at_once(writer, feature_set([*feature_set().rows, row]))


def test_many_rows_are_in_the_index_and_later_ones_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 3)
    with store.write() as writer:
        at_once(writer, feature_set())
        writer.put_alias(writer.reader.resolve("sea").id, "ocean")
    with store.write() as writer:
        assert [each.latent for each in writer.reader.search("ocean").features] == [10]
        writer.put_labels({each.id: (labeled(f"new {each.latent}"), Provenance(author="me", method="x"))
                           for each in writer.reader.features("a" * 64)})  # fmt: skip
        assert len(writer.reader.search("new").features) == len(LABELS)
        if store.name.endswith(".db"):
            for index in ("names_index", "texts_index"):
                check = f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)"
                writer._session.connection().exec_driver_sql(check)


def test_rows_that_are_refused_leave_the_index_in_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 3)
    rows = [(f"f_{n}", "a" * 64, "word") for n in range(9)]  # of features that are not there
    with pytest.raises((DBAPIError, InvalidInput)), store.write() as writer:
        bulk.insert_rows(writer._session, "texts", ("feature_id", "artifact_id", "text"), rows)
    with store.write() as writer:
        at_once(writer, feature_set())
        assert [each.latent for each in writer.reader.search("some 4").features][:1] == [4]


def test_slugs_that_many_share_are_numbered() -> None:
    slugs = TakenSlugs({"a", "a-3"})
    assert [slugs.give("a") for _ in range(3)] == ["a-2", "a-4", "a-5"]
    assert [slugs.give("b"), slugs.give("a-2"), slugs.give("a-2")] == ["b", "a-2-2", "a-2-3"]
