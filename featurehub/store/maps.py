"""The map of an artifact's features: one row, so that a page reads all places at once."""

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.records import FeatureMap
from featurehub.store.schema import ArtifactRecord, MapRecord

__all__ = ["load_map", "save_map"]


def save_map(session: Session, artifact: ArtifactRecord, map: FeatureMap) -> None:
    """Makes this the map of an artifact; see ``Writer.put_map``."""
    width, latents = artifact.manifest["d_sae"], map.latents
    if map.places.shape != (len(latents), 2) or (np.diff(latents.astype(np.int64)) <= 0).any():
        raise InvalidInput("a map has one place for each latent, and its latents ascend", param="map")
    if len(latents) and latents[-1] >= width:
        raise InvalidInput(f"latent {latents[-1]} lies outside the SAE's {width} latents", param="latent")
    session.merge(MapRecord(artifact_id=artifact.id, latents=map.packed_latents, places=map.packed_places))
    session.flush()


def load_map(session: Session, artifact: str) -> FeatureMap | None:
    """The map of an artifact; None where nobody has computed one."""
    row = session.execute(select(MapRecord.latents, MapRecord.places).where(MapRecord.artifact_id == artifact)).first()
    return None if row is None else FeatureMap(row.latents, row.places)
