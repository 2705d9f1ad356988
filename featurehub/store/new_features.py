"""All features of an SAE that the database does not know yet, as rows of its tables.

What ``put_features``, ``put_labels`` and ``put_calibrations`` find out and change step by step is known beforehand
where there is nothing yet: each label is the first version, each slug is chosen among those of the new features alone,
and no row is written twice. All of it is prepared before the write lock is taken.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.records import Labeled
from featurehub.store.bulk import insert_rows
from featurehub.store.feature_set import FeatureSet
from featurehub.store.labels import LABEL_COLUMNS, label_values
from featurehub.store.naming import NAME_COLUMNS, TakenSlugs, default_slug, name_values, names_from
from featurehub.store.schema import ArtifactRecord, FeatureRecord
from featurehub.store.statistics import (
    CALIBRATION,
    COLUMNS,
    TEXT_COLUMNS,
    PreparedRows,
    calibration_values,
    check_width,
    id_of,
)

__all__ = ["NewFeatures", "save_new_features"]

FEATURE_COLUMNS = ("id", "artifact_id", "slug", "label", "label_version", "label_score", *CALIBRATION, *COLUMNS)


class NewFeatures:
    """Rows for features that are new.

    Args:
        features: The features, with labels and calibrations.

    Attributes:
        artifact: Id of their SAE.
        rows: Their statistics.
        tables: For each table: its name, the names of its columns, and the rows.

    Raises:
        InvalidInput: A latent occurs twice.
        FeatureNotFound: A label or a calibration is of a latent without statistics.
    """

    def __init__(self, features: FeatureSet) -> None:
        self.artifact, self.rows = features.manifest.id, PreparedRows(features.rows)
        self._features = features
        self._ids = {latent: id_of(self.artifact, latent) for latent in self.rows.latents}
        missing = (features.labels.keys() | features.calibrations.keys()) - self._ids.keys()
        if missing:
            raise FeatureNotFound(f"there is no feature of the latent {min(missing)}, but a label or a calibration")
        self._named = {at: found for at, (found, _) in features.labels.items() if isinstance(found, Labeled)}
        # In the order of their ids, as the indexes have them: what follows goes to the same page of each.
        self._in_order = sorted(self._ids, key=self._ids.__getitem__)
        names = names_from({self._ids[at]: self._named[at].label for at in self._in_order if at in self._named})
        texts = {row["latent"]: row["text"] for row in self.rows.columns if row["text"]}
        self.tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Any]]]] = (
            ("features", FEATURE_COLUMNS, list(self._of_features())),
            ("labels", LABEL_COLUMNS, list(self._of_labels())),
            ("names", NAME_COLUMNS, list(name_values(names, lambda _: self.artifact))),
            (
                "texts",
                TEXT_COLUMNS,
                [(self._ids[at], self.artifact, texts[at]) for at in self._in_order if at in texts],
            ),
        )

    def _of_features(self) -> Iterator[tuple[Any, ...]]:
        slugs = self._slugs()
        for row in self.rows.columns:
            at: int = row["latent"]
            found = self._named.get(at)
            label = ("", 0, None) if found is None else (found.label.text, 1, found.score)
            calibration = calibration_values(self._features.calibrations.get(at))
            yield (self._ids[at], self.artifact, slugs[at], *label, *calibration, *(row[each] for each in COLUMNS))

    def _slugs(self) -> dict[int, str]:
        """By latent. Those of features without a label are not given to others."""
        chosen = {at: default_slug(at) for at in self.rows.latents if at not in self._named}
        taken = TakenSlugs(chosen.values())
        return chosen | {at: taken.give_named(at, self._named[at].label) for at in sorted(self._named)}

    def _of_labels(self) -> Iterator[tuple[Any, ...]]:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        for at in self._in_order:
            if (found := self._features.labels.get(at)) is not None:
                yield label_values(self._ids[at], 1, *found, created)


def save_new_features(session: Session, artifact: ArtifactRecord, features: NewFeatures) -> None:
    """Adds the rows; see ``Writer.add_features``."""
    check_width(artifact, features.rows.latents)
    known = select(FeatureRecord.id).where(FeatureRecord.artifact_id == artifact.id).limit(1)
    if session.scalar(known) is not None:
        raise InvalidInput(f"the artifact {artifact.name} has features already; use put_features", param="artifact")
    for table, columns, rows in features.tables:
        insert_rows(session, table, columns, rows)
