"""The clusters of an artifact's features."""

from collections.abc import Sequence

from pydantic_core import to_json
from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.records import Cluster
from featurehub.store.bulk import insert_rows, update_rows
from featurehub.store.schema import ClusterRecord
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of

__all__ = ["clusters_of", "save_clusters"]

FORGET = statement("DELETE FROM clusters WHERE artifact_id = :artifact")
LEAVE = statement("UPDATE features SET cluster = NULL WHERE artifact_id = :artifact AND cluster IS NOT NULL")
COLUMNS = ("artifact_id", "number", "name", "latents")


def save_clusters(session: Session, artifact: str, clusters: Sequence[Cluster]) -> None:
    """Makes these the clusters of an artifact; see ``Writer.put_clusters``."""
    members = [(number, latent) for number, each in enumerate(clusters) for latent in each.latents]
    if len({latent for _, latent in members}) != len(members):
        raise InvalidInput("a latent is in several clusters", param="latent")
    session.execute(FORGET, {"artifact": artifact})
    session.execute(LEAVE, {"artifact": artifact})
    rows = ((artifact, at, each.name, to_json(each.latents).decode()) for at, each in enumerate(clusters))
    insert_rows(session, "clusters", COLUMNS, rows)
    update_rows(session, "features", ("cluster",), ((number, id_of(artifact, latent)) for number, latent in members))


def clusters_of(session: Session, artifact: str) -> tuple[Cluster, ...]:
    """The clusters of an artifact."""
    query = select(ClusterRecord).where(ClusterRecord.artifact_id == artifact).order_by(ClusterRecord.number)
    return tuple(Cluster(name=each.name, latents=tuple(each.latents)) for each in session.scalars(query))
