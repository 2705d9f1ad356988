"""A build's end: what it found is registered, or kept where it can be served and registered later."""

import os
from pathlib import Path

import pytest

from featurehub.errors import StoreBusy, StoreReadOnly
from featurehub.store import (
    KEPT,
    Calibration,
    FeatureMap,
    FeatureSet,
    Store,
    Unlabeled,
    check_writable,
    open_store,
    save_feature_set,
    save_or_keep,
)
from tests.labels import labeled


@pytest.fixture
def features(make_manifest, make_row, provenance, tmp_path: Path) -> FeatureSet:
    folder = tmp_path / "sae"
    folder.mkdir()
    return FeatureSet(
        manifest=make_manifest(),
        folder=folder,
        rows=[make_row(1, "a loan"), make_row(4), make_row(9)],
        labels={
            1: (labeled("banking: loan", score=0.9), provenance),
            4: (Unlabeled(reason="rare"), provenance),
        },
        calibrations={1: Calibration(strength=3.0, dose=0.3, steerability=0.5)},
        words={"cheque": [(1, 2.5), (9, 0.75)], "rain": [(4, 1.0)]},
        map=FeatureMap.of([1, 4, 9], [[0, 5], [65535, 2], [7, 9]]),
    )


def read(database: str | Path) -> FeatureSet:
    store = open_store(database)
    with store.read() as reader:
        found = reader.feature_set("demo-l2")
    store.close()
    return found


def test_it_comes_out_as_it_went_in(features: FeatureSet, location: str) -> None:
    save_feature_set(features, location)
    assert read(location) == features
    save_feature_set(features, location)
    assert read(location) == features


def test_what_a_busy_database_does_not_take_is_kept(features: FeatureSet, store: Store) -> None:
    with store.write():
        told = save_or_keep(features, store.name, features.folder, patience=0.2)
    assert told is not None
    assert isinstance(told.__cause__, StoreBusy)
    for words in (f"register it with `featurehub saes register {features.folder}`", str(features.folder / KEPT)):
        assert words in told.message
    assert read(features.folder / KEPT) == features
    assert [each.name for each in features.folder.iterdir()] == [KEPT]
    assert save_or_keep(features, store.name, features.folder) is None
    assert read(store.name) == features
    assert list(features.folder.iterdir()) == []


def test_a_long_run_asks_first_whether_it_may_write(store: Store) -> None:
    with store.write():
        check_writable(store.name)


def test_a_long_run_is_told_of_a_file_that_it_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "f.db")
    assert not list(tmp_path.iterdir())
    open_store(tmp_path / "f.db").close()
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    for name in ("f.db", "missing.db"):
        with pytest.raises(StoreReadOnly):
            check_writable(tmp_path / name)
