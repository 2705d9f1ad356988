"""A database with rows in every table, and all that is in it."""

import numpy as np
from sqlalchemy import inspect, text

from featurehub.features import Edit, State
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.store import Calibration, Cluster, EmbeddingKind, Evaluation, FeatureMap, Writer
from featurehub.store.location import database_at
from featurehub.store.schema import Base
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.store.conftest import fill_artifact

__all__ = ["fill_every_table", "report", "rows"]

TABLES = tuple(table.name for table in Base.metadata.sorted_tables)


def report(id: str) -> DriftReport:
    verdict = FeatureVerdict(latent=1, label="banking", reads=State.STALE, steers=State.STALE, reason="measured")
    return DriftReport(
        id=id, artifact="a" * 64, model="sibling", fingerprint="n" * 64, created="2026-02-01", state=State.SUSPECT,
        reason="", metrics={}, features=(verdict,),
    )  # fmt: skip


def fill_every_table(writer: Writer) -> dict[int, str]:
    """Ids of the features, by latent."""
    ids = fill_artifact(writer, {1: "banking: loan", 2: "pirate", 3: "gardening"})
    writer.put_artifact_alias("a" * 64, "production")
    writer.put_words("a" * 64, {"cheque": [(1, 2.5)]})
    writer.vectors.begin("a" * 64, "fake", 2)
    writer.vectors.put("a" * 64, "fake", EmbeddingKind.LABEL, {ids[2]: "pirate"}, np.ones((1, 2), np.float32))
    writer.put_clusters("a" * 64, [Cluster(name="money", latents=(1, 3))])
    writer.put_map("a" * 64, FeatureMap.of([1, 3], [[0, 9], [65535, 7]]))
    writer.put_calibration(ids[1], Calibration(strength=1.0, dose=0.3))
    writer.put_group("money", {ids[1]: 1.0, ids[3]: -0.5}, description="what a bank deals with")
    writer.variants.save("pirate-bank", "demo", {"pirate": Edit(weight=0.5), "money": Edit(weight=-0.5)})
    writer.put_report(report("r1"))
    gone = RefreshedFeature(latent=3, label="gardening", fate=Fate.RETIRED, reason="its F1 fell")
    refresh = RefreshReport(
        parent="a" * 64, artifact="a" * 64, model="sibling", fingerprint="n" * 64, created="2026-02-01",
        explained_variance_before=0.9, explained_variance_stale=0.8, features=(gone,),
    )  # fmt: skip
    writer.put_refresh(refresh, names=True)
    writer.put_evaluation(
        Evaluation(
            artifact="a" * 64, fingerprint="n" * 64, model="sibling", text="corpus", text_hash="t" * 64,
            metrics={"l0": 4.0}, created="2026-02-01",
        )
    )  # fmt: skip
    return ids


def rows(location: str) -> dict[str, list[str]]:
    """What every table holds, in any order, below its columns."""
    engine = database_at(location).engine
    with engine.connect() as connection:
        columns = {table: str(inspect(connection).get_columns(table)) for table in TABLES}
        found = {table: sorted(map(str, connection.execute(text(f"SELECT * FROM {table}")))) for table in TABLES}
    engine.dispose()
    return {table: [columns[table], *found[table]] for table in TABLES}
