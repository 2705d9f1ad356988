"""Stores the statistics of an artifact's features, and the text in which search looks for them."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.names import words_of
from featurehub.records import Calibration, FeatureRow
from featurehub.store.bulk import insert_rows, update_rows
from featurehub.store.embeddings import EmbeddingKind, forget_embeddings
from featurehub.store.naming import TakenSlugs, default_slug
from featurehub.store.rows import batches
from featurehub.store.schema import ArtifactRecord
from featurehub.store.sql import run_many, statement

__all__ = [
    "CALIBRATION",
    "COLUMNS",
    "TEXT_COLUMNS",
    "PreparedRows",
    "better_founded",
    "calibration_values",
    "check_width",
    "id_of",
    "may_replace",
    "save_calibrations",
    "save_features",
]

Row = dict[str, Any]

PLAIN = ("latent", "density", "max_activation")
AS_JSON = ("quantiles", "contexts", "top_tokens", "bottom_tokens", "neighbors", "histogram", "coactive")
COLUMNS = (*PLAIN, *AS_JSON)

KNOWN = statement("SELECT id, slug FROM features WHERE artifact_id = :artifact")
REMOVE = statement("DELETE FROM features WHERE id = :id")
TEXT_COLUMNS = ("feature_id", "artifact_id", "text")
ADDED = ("id", "artifact_id", "slug", "label", "label_version", *COLUMNS)
FORGET_TEXT = statement("DELETE FROM texts WHERE feature_id = :id")
CALIBRATED = statement(
    "SELECT id, CAST(calibration AS TEXT) AS calibration FROM features WHERE id IN :ids AND calibration IS NOT NULL",
    "ids",
)
CALIBRATION = ("strength", "steerability", "expected_steerability", "calibration")


class PreparedRows:
    """Rows in the form that the database takes, so that the work is done before the write lock is taken.

    Args:
        rows: The statistics, one row per latent.

    Attributes:
        columns: Values by column, one mapping per row.
        latents: The latents, in the order of the rows.

    Raises:
        InvalidInput: A latent occurs twice.
    """

    def __init__(self, rows: Iterable[FeatureRow]) -> None:
        self.columns = [_columns(row) for row in rows]
        self.latents = [each["latent"] for each in self.columns]
        if len(set(self.latents)) != len(self.latents):
            raise InvalidInput("a latent comes twice among the features", param="latent")


def id_of(artifact: str, latent: int) -> str:
    """The id of the feature of an artifact's latent: the same in every database."""
    return f"f_{hashlib.sha256(f'{artifact}/{latent}'.encode()).hexdigest()[:16]}"


def save_features(session: Session, artifact: ArtifactRecord, rows: PreparedRows) -> list[str]:
    """Makes ``rows`` the artifact's features; see ``Writer.put_features``."""
    check_width(artifact, rows.latents)
    ids = [id_of(artifact.id, latent) for latent in rows.latents]
    columns = [{"id": id, **each} for id, each in zip(ids, rows.columns, strict=True)]
    slugs = {row.id: row.slug for row in session.execute(KNOWN, {"artifact": artifact.id})}
    gone = slugs.keys() - set(ids)
    known, new = _parted(columns, slugs)
    run_many(session, REMOVE, [{"id": each} for each in sorted(gone)])
    update_rows(session, "features", COLUMNS, ((*(each[name] for name in COLUMNS), each["id"]) for each in known))
    insert_rows(session, "features", ADDED, _added(artifact.id, new, {slugs[each["id"]] for each in known}))
    run_many(session, FORGET_TEXT, known)
    texts = ((each["id"], artifact.id, each["text"]) for each in columns if each["text"])
    insert_rows(session, "texts", TEXT_COLUMNS, texts)
    forget_embeddings(session, ids, [artifact.id], (EmbeddingKind.TOKENS, EmbeddingKind.CONTEXTS))
    return ids


def check_width(artifact: ArtifactRecord, latents: Sequence[int]) -> None:
    """Raises InvalidInput where a latent lies outside the SAE."""
    width = artifact.manifest["d_sae"]
    if latents and max(latents) >= width:
        raise InvalidInput(f"latent {max(latents)} lies outside the SAE's {width} latents", param="latent")


def may_replace(new: Calibration, stored: Calibration | None) -> bool:
    """Whether a calibration is founded on at least as many answers as the one that is stored."""
    if stored is None or stored.steerability is None:
        return True
    return new.steerability is not None and new.answers >= stored.answers


def better_founded(session: Session, calibrations: Mapping[str, Calibration]) -> dict[str, Calibration]:
    """Those of the calibrations, by the feature's id, that may replace what is stored."""
    stored: dict[str, Calibration] = {}
    for batch in batches(calibrations):
        rows = session.execute(CALIBRATED, {"ids": batch})
        stored |= {row.id: Calibration.model_validate_json(row.calibration) for row in rows}
    return {id: each for id, each in calibrations.items() if may_replace(each, stored.get(id))}


def save_calibrations(session: Session, calibrations: Mapping[str, Calibration]) -> None:
    """Stores calibrations of known features, by id."""
    update_rows(session, "features", CALIBRATION, ((*calibration_values(x), id) for id, x in calibrations.items()))


def calibration_values(calibration: Calibration | None) -> tuple[float | str | None, ...]:
    """Values of ``CALIBRATION``."""
    if calibration is None:
        return (None,) * len(CALIBRATION)
    found = calibration
    return found.strength, found.steerability, found.expected_steerability, found.model_dump_json()


def _parted(rows: Sequence[Row], known: Container[str]) -> tuple[list[Row], list[Row]]:
    return [each for each in rows if each["id"] in known], [each for each in rows if each["id"] not in known]


def _columns(row: FeatureRow) -> Row:
    stored = {name: getattr(row, name) for name in PLAIN}
    stored |= {name: to_json(getattr(row, name)).decode() for name in AS_JSON}
    return stored | {"text": _searched(row)}


def _added(artifact: str, rows: Sequence[Row], taken: set[str]) -> Iterator[tuple[Any, ...]]:
    """Values of ``ADDED``, with a slug that no other feature has."""
    slugs = TakenSlugs(taken)
    for row in rows:
        slug = slugs.give(default_slug(row["latent"]))
        yield (row["id"], artifact, slug, "", 0, *(row[name] for name in COLUMNS))


def _searched(row: FeatureRow) -> str:
    """The words of a feature's contexts and top tokens, once each."""
    text = " ".join([*(context.text for context in row.contexts), *(each.token for each in row.top_tokens)])
    return " ".join(dict.fromkeys(words_of(text)))
