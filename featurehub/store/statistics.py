"""Stores the statistics of an artifact's features, and the text in which search looks for them."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.names import words_of
from featurehub.records import FeatureRow
from featurehub.store.naming import default_slug, free_slug
from featurehub.store.rows import batches
from featurehub.store.schema import ArtifactRecord, FeatureRecord, TextRecord

__all__ = ["id_of", "save_features"]


def id_of(artifact: str, latent: int) -> str:
    """The id of an artifact's latent: the same in every database."""
    return f"f_{hashlib.sha256(f'{artifact}/{latent}'.encode()).hexdigest()[:16]}"


def save_features(session: Session, artifact: ArtifactRecord, rows: Iterable[FeatureRow]) -> list[str]:
    """Makes ``rows`` the artifact's features; see ``Writer.put_features``."""
    listed = list(rows)
    _check_latents(artifact, [row.latent for row in listed])
    ids = [id_of(artifact.id, row.latent) for row in listed]
    known = set(session.scalars(select(FeatureRecord.id).where(FeatureRecord.artifact_id == artifact.id)))
    for batch in batches(sorted(known - set(ids))):
        session.execute(delete(FeatureRecord).where(FeatureRecord.id.in_(batch)))
    statistics = [{"id": each, **row.model_dump(mode="json")} for each, row in zip(ids, listed, strict=True)]
    _insert_features(session, artifact.id, [row for row in statistics if row["id"] not in known])
    _run(session, update(FeatureRecord), [row for row in statistics if row["id"] in known])
    _replace_texts(session, ids, listed)
    return ids


def _check_latents(artifact: ArtifactRecord, latents: Sequence[int]) -> None:
    width = artifact.manifest["d_sae"]
    if len(set(latents)) != len(latents):
        raise InvalidInput("a latent comes twice among the features", param="latent")
    if latents and max(latents) >= width:
        raise InvalidInput(f"latent {max(latents)} lies outside the SAE's {width} latents", param="latent")


def _insert_features(session: Session, artifact: str, statistics: Sequence[dict[str, Any]]) -> None:
    taken = set(session.scalars(select(FeatureRecord.slug).where(FeatureRecord.artifact_id == artifact)))
    rows = []
    for row in statistics:
        slug = free_slug(default_slug(row["latent"]), taken)
        taken.add(slug)
        rows.append({"artifact_id": artifact, "slug": slug, **row})
    _run(session, insert(FeatureRecord), rows)


def _replace_texts(session: Session, ids: Sequence[str], rows: Sequence[FeatureRow]) -> None:
    for batch in batches(ids):
        session.execute(delete(TextRecord).where(TextRecord.feature_id.in_(batch)))
    texts = [{"feature_id": each, "text": _searched(row)} for each, row in zip(ids, rows, strict=True)]
    _run(session, insert(TextRecord), texts)


def _searched(row: FeatureRow) -> str:
    """The words of a feature's contexts and top tokens, once each."""
    text = " ".join([*(context.text for context in row.contexts), *(each.token for each in row.top_tokens)])
    return " ".join(dict.fromkeys(words_of(text)))


def _run(session: Session, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        session.execute(statement, rows)
