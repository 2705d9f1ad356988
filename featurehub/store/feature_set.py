"""Everything that the database stores of a new SAE, in one value."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from featurehub.artifacts.manifest import Manifest
from featurehub.records import Calibration, Cluster, FeatureMap, FeatureRow, Outcome, Provenance, RegisteredArtifact
from featurehub.store.clusters import clusters_of
from featurehub.store.maps import load_map
from featurehub.store.rows import label_of, row_of
from featurehub.store.schema import FeatureRecord
from featurehub.store.words import words_of

__all__ = ["FeatureSet", "read_feature_set"]


class FeatureSet(NamedTuple):
    """An SAE and its features.

    Attributes:
        manifest: The SAE's manifest.
        folder: Where the SAE lies, or will lie.
        rows: Statistics, one row per latent.
        labels: By latent: the label, or why there is none, and where that comes from.
        calibrations: By latent.
        words: By word, the latents that go with it and how much, best first; search finds features by them.
        clusters: Latents that belong together.
        map: Where the features lie among each other; None where that was not computed.
    """

    manifest: Manifest
    folder: Path
    rows: Sequence[FeatureRow]
    labels: Mapping[int, tuple[Outcome, Provenance]]
    calibrations: Mapping[int, Calibration]
    words: Mapping[str, Sequence[tuple[int, float]]] = MappingProxyType({})
    clusters: Sequence[Cluster] = ()
    map: FeatureMap | None = None


def read_feature_set(session: Session, artifact: RegisteredArtifact) -> FeatureSet:
    """What the database knows of an artifact, with the latest label of each feature."""
    query = select(FeatureRecord).where(FeatureRecord.artifact_id == artifact.id).order_by(FeatureRecord.latent)
    records = session.scalars(query.options(selectinload(FeatureRecord.labels))).all()
    latest = {each.latent: label_of(each.labels[-1]) for each in records if each.labels}
    return FeatureSet(
        manifest=artifact.manifest,
        folder=Path(artifact.path),
        rows=[row_of(each) for each in records],
        labels={latent: (each.outcome, each.provenance) for latent, each in latest.items()},
        calibrations={
            each.latent: Calibration.model_validate(each.calibration) for each in records if each.calibration
        },
        words=words_of(session, artifact.id),
        clusters=clusters_of(session, artifact.id),
        map=load_map(session, artifact.id),
    )
