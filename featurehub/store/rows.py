"""From the tables' rows to values."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.features import Feature
from featurehub.names import fold
from featurehub.records import (
    CoActive,
    Context,
    FeatureRow,
    Histogram,
    Label,
    Labeled,
    LabelVersion,
    Outcome,
    Provenance,
    TokenLogit,
    Unlabeled,
)
from featurehub.store.names import NameKind
from featurehub.store.schema import FeatureRecord, LabelRecord
from featurehub.store.sql import statement

__all__ = [
    "COLUMNS",
    "FIELDS",
    "NamedFeature",
    "batches",
    "features_of",
    "gathered",
    "label_of",
    "load_features",
    "named",
    "parts_in",
    "row_of",
]

T = TypeVar("T")

FIELDS = (
    "id", "label", "label_version", "slug", "artifact", "latent", "density", "max_activation", "label_score",
    "strength", "steerability", "expected_steerability",
)  # fmt: skip
COLUMNS = """
    f.id, f.label, f.label_version, f.slug, f.artifact_id, f.latent, f.density, f.max_activation, f.label_score,
    f.strength, f.steerability, f.expected_steerability, names.name, names.key, names.kind
"""
"""Columns of one row per feature ``f`` and name; a feature without a name has one row with nulls."""
# Below the limit of old SQLite versions on the number of parameters.
BATCH = 900

WITH_NAMES = "LEFT JOIN names ON names.feature_id = f.id AND names.owner IN ('', :owner)"
"""Adds to features ``f`` the names that an owner knows: everyone's, and their own."""
BY_ID = statement(f"SELECT {COLUMNS} FROM features AS f {WITH_NAMES} WHERE f.id IN :ids ORDER BY names.id", "ids")
OF_ARTIFACT = statement(
    f"SELECT {COLUMNS} FROM features AS f {WITH_NAMES} WHERE f.artifact_id = :artifact ORDER BY f.latent, names.id"
)


class NamedFeature(NamedTuple):
    """A feature's row and its names.

    Attributes:
        row: The columns ``COLUMNS``.
        names: For each name: the name, the folded name, and its ``NameKind``.
    """

    row: Sequence[Any]
    names: list[tuple[str, str, str]]

    @property
    def value(self) -> Feature:
        """The feature as a value."""
        label = fold(self.row[1])
        aliases = tuple(dict.fromkeys(name for name, key, _ in self.names if key != label))
        moved = tuple(name for name, _, kind in self.names if kind == NameKind.MOVED)
        return Feature(**dict(zip(FIELDS, self.row, strict=False)), aliases=aliases, moved=moved)


def batches(items: Iterable[T], size: int = BATCH) -> Iterable[Sequence[T]]:
    """The items in batches that fit into one statement."""
    every = list(items)
    return (every[start : start + size] for start in range(0, len(every), size))


def named(session: Session, query: TextClause, **parameters: object) -> dict[str, NamedFeature]:
    """Runs a statement that selects ``COLUMNS`` and returns its features by id."""
    return gathered(session.execute(query, parameters).all())


def gathered(rows: Iterable[Sequence[Any]]) -> dict[str, NamedFeature]:
    """The features in rows that begin with ``COLUMNS``, by id."""
    found: dict[str, NamedFeature] = {}
    for row in rows:
        if (each := found.get(row[0])) is None:
            each = found[row[0]] = NamedFeature(row, [])
        name, key, kind = row[len(FIELDS) : len(FIELDS) + 3]
        if name is not None:
            each.names.append((name, key, kind))
    return found


def load_features(session: Session, ids: Sequence[str], owner: str = "") -> list[Feature]:
    """The features with these ids and the names that ``owner`` knows, in this order; unknown ids are left out."""
    found: dict[str, NamedFeature] = {}
    for batch in batches(ids):
        found |= named(session, BY_ID, ids=batch, owner=owner)
    return [found[each].value for each in ids if each in found]


def features_of(session: Session, artifact: str) -> list[Feature]:
    """All features of an artifact, given by its id, sorted by latent."""
    return [each.value for each in named(session, OF_ARTIFACT, artifact=artifact, owner="").values()]


def parts_in(row: Any) -> Label:
    """The label in a row that has one: a record, or a selection of its ``name``, ``qualifier`` and ``further``."""
    return Label(name=row.name, qualifier=row.qualifier, further=tuple(row.further))


def label_of(record: LabelRecord) -> LabelVersion:
    """The value of a label's row."""
    outcome: Outcome
    if record.name is None:
        outcome = Unlabeled(reason=record.reason or "")
    else:
        outcome = Labeled(label=parts_in(record), score=record.score, scores=record.scores)
    provenance = Provenance(
        author=record.author, method=record.method, model=record.model, prompt=record.prompt, answer=record.answer
    )
    return LabelVersion(version=record.version, outcome=outcome, provenance=provenance, created=record.created)


def row_of(record: FeatureRecord) -> FeatureRow:
    """The statistics in a feature's row."""
    return FeatureRow(
        latent=record.latent,
        density=record.density,
        max_activation=record.max_activation,
        quantiles=record.quantiles,
        contexts=tuple(Context(**each) for each in record.contexts),
        top_tokens=tuple(TokenLogit(**each) for each in record.top_tokens),
        bottom_tokens=tuple(TokenLogit(**each) for each in record.bottom_tokens),
        neighbors=tuple(record.neighbors),
        histogram=None if record.histogram is None else Histogram.model_validate(record.histogram),
        coactive=tuple(CoActive(**each) for each in record.coactive),
    )
