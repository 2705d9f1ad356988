"""Registers a new SAE with all its features, or keeps them where that fails.

A build takes hours before it writes to the database. If the database cannot be written then (another process keeps
writing, the file is read-only, or it is not a feature database), the features go into a database of their own inside
the SAE's folder. That one can be served at once, and be put into the right one later.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from featurehub.errors import FeaturehubError, StoreError
from featurehub.records import Calibration, Outcome, Provenance
from featurehub.store.feature_set import FeatureSet
from featurehub.store.new_features import NewFeatures
from featurehub.store.statistics import id_of
from featurehub.store.store import open_store
from featurehub.store.writer import Writer

__all__ = ["KEPT", "put_named", "save_feature_set", "save_or_keep"]

Labels = Mapping[int, tuple[Outcome, Provenance]]

KEPT = "features.db"
"""File name of the database in an SAE's folder."""
PATIENCE = 600.0
"""Seconds that a build waits for another writer. What it writes took hours, so it has more to lose than others."""


def save_feature_set(features: FeatureSet, database: str | Path, patience: float = PATIENCE) -> None:
    """Registers the SAE with all its features, in one transaction.

    A feature that keeps its label keeps its calibration too, unless the new one is founded on as many answers.

    Args:
        features: The SAE and its features.
        database: Path or URL of the feature database.
        patience: Seconds to wait for another writer.

    Raises:
        InvalidConfig: The database cannot be opened.
        StoreBusy: Another process wrote for all that time.
        StoreReadOnly: The file or its folder cannot be written.
    """
    new = NewFeatures(features)
    with closing(open_store(database)) as store, store.write(patience) as writer:
        writer.put_artifact(features.manifest, features.folder)
        if writer.reader.count_features(new.artifact)[0]:
            writer.put_features(new.artifact, new.rows)
            put_named(writer, new.artifact, features.labels, features.calibrations)
        else:
            writer.add_features(new)
        writer.put_words(new.artifact, features.words)
        writer.put_clusters(new.artifact, features.clusters)
        if features.map is not None:
            writer.put_map(new.artifact, features.map)


def put_named(writer: Writer, artifact: str, labels: Labels, calibrations: Mapping[int, Calibration]) -> None:
    """Stores labels and calibrations of an artifact's features.

    A feature that keeps its label keeps its calibration too, unless the new one is founded on as many answers.

    Args:
        writer: Writes.
        artifact: Id of the artifact.
        labels: By latent: the label, or why there is none, and where that comes from.
        calibrations: By latent.

    Raises:
        FeatureNotFound: The artifact has no feature of one of the latents.
    """
    latents = labels.keys() | calibrations.keys()
    before = names_of(writer, artifact, latents)
    writer.put_labels({id_of(artifact, latent): label for latent, label in labels.items()})
    after = names_of(writer, artifact, latents)
    given = {id_of(artifact, latent): each for latent, each in calibrations.items()}
    same = {id for id in given if before.get(id) == after.get(id)}
    writer.put_calibrations({id: each for id, each in given.items() if id not in same})
    writer.improve_calibrations({id: each for id, each in given.items() if id in same})


def names_of(writer: Writer, artifact: str, latents: Iterable[int]) -> dict[str, str]:
    """The labels of the features of some latents by id."""
    return {feature.id: feature.label for feature in writer.reader.latents(artifact, latents)}


def save_or_keep(
    features: FeatureSet, database: str | Path, folder: Path, patience: float = PATIENCE
) -> StoreError | None:
    """Registers the SAE, or keeps what would have been registered in ``folder``.

    Args:
        features: The SAE and its features; ``features.folder`` is where the SAE will lie.
        database: Path or URL of the feature database.
        folder: Where the SAE lies now.
        patience: Seconds to wait for another writer.

    Returns:
        None where it was registered. Otherwise an error that says what failed and how to go on; raise it once the
        folder is in its place.
    """
    try:
        save_feature_set(features, database, patience)
    except (FeaturehubError, SQLAlchemyError) as error:
        save_feature_set(features, folder / KEPT)
        kept = StoreError(
            f"{error}. The SAE is done and lies in {features.folder}, but is not registered in {database}. Its "
            f"features are in {features.folder / KEPT}: serve it with --db on that file, or register it with "
            f"`featurehub saes register {features.folder}` and the same --db as before"
        )
        kept.__cause__ = error
        return kept
    (folder / KEPT).unlink(missing_ok=True)
    return None
