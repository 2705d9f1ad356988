"""Features' texts as vectors: which texts, which of them lack a vector, and how vectors are stored.

1. A feature has up to three texts: its label, its top tokens, and what stands around the peak of its top contexts.
2. An artifact's vectors come from one embedder, whose identity is stored. Another one begins anew: the vectors of the
   former are deleted, since the two cannot be compared.
3. A vector is that of the current text. A label or statistics that change delete it, in the same transaction; and one
   whose text has changed since it was read is not stored.
4. Whatever changes gives the artifact a new stamp, by which readers know that what they hold in memory is outdated.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from featurehub.errors import EmbedderMismatch, InvalidInput
from featurehub.store.half import DTYPE
from featurehub.store.rows import batches
from featurehub.store.schema import EmbedderRecord, EmbeddingRecord, FeatureRecord
from featurehub.store.sql import statement

__all__ = [
    "EmbeddedBy",
    "EmbeddingKind",
    "Unembedded",
    "begin_embedding",
    "embedders_of",
    "forget_embeddings",
    "load_unembedded",
    "load_vectors",
    "save_embeddings",
    "text_of",
]

DIMENSIONS = 4096
TOKENS = 10
CONTEXTS = 4
AROUND = 8
"""Tokens of a context before and after its peak that are embedded: what is further away says little of the feature."""


class EmbeddingKind(StrEnum):
    """Which of a feature's texts a vector stands for.

    Attributes:
        LABEL: Its label.
        TOKENS: The tokens that it promotes most.
        CONTEXTS: What stands around the peaks of its top contexts.
    """

    LABEL = "label"
    TOKENS = "tokens"
    CONTEXTS = "contexts"


SOURCES = {
    EmbeddingKind.LABEL: FeatureRecord.label,
    EmbeddingKind.TOKENS: FeatureRecord.top_tokens,
    EmbeddingKind.CONTEXTS: FeatureRecord.contexts,
}

# Read in every search, and so not built anew for each.
EMBEDDERS = statement(
    "SELECT artifact_id, embedder, dimensions, stamp FROM embedders WHERE artifact_id IN :saes", "saes"
)


class EmbeddedBy(NamedTuple):
    """Where an artifact's vectors come from.

    Attributes:
        embedder: The embedder's identity.
        dimensions: Length of each vector.
        stamp: Changes with every change of the vectors.
    """

    embedder: str
    dimensions: int
    stamp: str


class Unembedded(NamedTuple):
    """A feature without a vector of one kind, and the text that it is to be of; "" where it has no such text."""

    id: str
    latent: int
    text: str


def embedders_of(session: Session, artifacts: Iterable[str]) -> dict[str, EmbeddedBy]:
    """Where the vectors of each artifact (by id) come from; those that were never embedded are left out."""
    rows = session.execute(EMBEDDERS, {"saes": list(artifacts)}).all()
    return {artifact: EmbeddedBy(embedder, dimensions, stamp) for artifact, embedder, dimensions, stamp in rows}


def begin_embedding(session: Session, artifact: str, embedder: str, dimensions: int) -> None:
    """Makes an embedder the artifact's; vectors of a former one are deleted.

    Raises:
        InvalidInput: The vectors are longer than 4,096.
    """
    if not 1 <= dimensions <= DIMENSIONS:
        raise InvalidInput(f"a vector has 1..{DIMENSIONS} numbers, not {dimensions}", param="embedder")
    former = embedders_of(session, [artifact]).get(artifact)
    if former is not None and (former.embedder, former.dimensions) == (embedder, dimensions):
        return
    session.execute(delete(EmbeddingRecord).where(EmbeddingRecord.artifact_id == artifact))
    session.execute(delete(EmbedderRecord).where(EmbedderRecord.artifact_id == artifact))
    values = {"artifact_id": artifact, "embedder": embedder, "dimensions": dimensions, "stamp": uuid4().hex}
    session.execute(insert(EmbedderRecord).values(**values))


def load_unembedded(
    session: Session, artifact: str, kind: EmbeddingKind, after: int = -1, limit: int = 256
) -> list[Unembedded]:
    """The next features without a vector of this kind, by latent."""
    has = exists().where(EmbeddingRecord.feature_id == FeatureRecord.id, EmbeddingRecord.kind == kind.value)
    query = select(FeatureRecord.id, FeatureRecord.latent, SOURCES[kind])
    query = query.where(FeatureRecord.artifact_id == artifact, FeatureRecord.latent > after, ~has)
    rows = session.execute(query.order_by(FeatureRecord.latent).limit(limit))
    return [Unembedded(id, latent, text_of(kind, source)) for id, latent, source in rows]


def save_embeddings(
    session: Session, artifact: str, embedder: str, kind: EmbeddingKind, texts: Mapping[str, str],
    vectors: NDArray[np.float32],
) -> int:  # fmt: skip
    """Stores vectors of the features' texts.

    Args:
        session: A session that writes.
        artifact: Id of the artifact.
        embedder: Identity of the embedder that they come from.
        kind: Which of the features' texts they are of.
        texts: The text that was embedded, by the feature's id.
        vectors: One row per text, ``[texts, dimensions]``.

    Returns:
        How many were stored: a feature whose text has changed meanwhile gets none.

    Raises:
        EmbedderMismatch: The artifact's vectors come from another embedder.
    """
    known = embedders_of(session, [artifact]).get(artifact)
    if known is None or (known.embedder, known.dimensions) != (embedder, vectors.shape[1]):
        now = "nothing" if known is None else known.embedder
        raise EmbedderMismatch(f"artifact {artifact[:12]} is embedded by {now} meanwhile, not by {embedder}")
    current = {
        id: text_of(kind, source)
        for batch in batches(texts)
        for id, source in session.execute(
            select(FeatureRecord.id, SOURCES[kind]).where(
                FeatureRecord.id.in_(batch), FeatureRecord.artifact_id == artifact
            )
        )
    }
    stored = [at for at, (id, text) in enumerate(texts.items()) if current.get(id) == text]
    ids, rows = list(texts), vectors.astype(DTYPE)
    _forget(session, [ids[at] for at in stored], [kind])
    same = {"kind": kind.value, "artifact_id": artifact}
    values = [{"feature_id": ids[at], "vector": rows[at].tobytes(), **same} for at in stored]
    if values:
        session.execute(insert(EmbeddingRecord), values)
        _stamp(session, [artifact])
    return len(stored)


def load_vectors(session: Session, features: Iterable[str]) -> dict[EmbeddingKind, dict[str, NDArray[np.float32]]]:
    """The vectors of features (by id), by kind."""
    found: dict[EmbeddingKind, dict[str, NDArray[np.float32]]] = {kind: {} for kind in EmbeddingKind}
    columns = EmbeddingRecord.feature_id, EmbeddingRecord.kind, EmbeddingRecord.vector
    for batch in batches(features):
        for id, kind, vector in session.execute(select(*columns).where(EmbeddingRecord.feature_id.in_(batch))):
            found[EmbeddingKind(kind)][id] = np.frombuffer(vector, DTYPE).astype(np.float32)
    return found


def forget_embeddings(
    session: Session, features: Sequence[str], artifacts: Iterable[str], kinds: Iterable[EmbeddingKind]
) -> None:
    """Deletes the vectors of features (by id, of these artifacts) whose texts of these kinds have changed."""
    if embedded := list(embedders_of(session, artifacts)):
        _forget(session, features, kinds)
        _stamp(session, embedded)


def text_of(kind: EmbeddingKind, source: Any) -> str:
    """The text that a vector of this kind is of, from the feature's label, tokens or contexts."""
    match kind:
        case EmbeddingKind.LABEL:
            return source
        case EmbeddingKind.TOKENS:
            return " ".join(dict.fromkeys(each["token"].strip() for each in source[:TOKENS])).strip()
        case EmbeddingKind.CONTEXTS:
            return " … ".join(filter(None, (_around(each) for each in source[:CONTEXTS])))


def _around(context: Mapping[str, Any]) -> str:
    activations: Sequence[float] = context["activations"]
    peak = max(range(len(activations)), key=activations.__getitem__, default=0)
    return " ".join("".join(context["tokens"][max(0, peak - AROUND) : peak + AROUND + 1]).split())


def _forget(session: Session, features: Sequence[str], kinds: Iterable[EmbeddingKind]) -> None:
    named = [kind.value for kind in kinds]
    for batch in batches(features):
        gone = delete(EmbeddingRecord).where(EmbeddingRecord.feature_id.in_(batch), EmbeddingRecord.kind.in_(named))
        session.execute(gone.execution_options(synchronize_session=False))


def _stamp(session: Session, artifacts: Sequence[str]) -> None:
    query = update(EmbedderRecord).where(EmbedderRecord.artifact_id.in_(artifacts)).values(stamp=uuid4().hex)
    session.execute(query.execution_options(synchronize_session=False))
