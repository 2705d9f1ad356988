"""The writing of features' vectors."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from featurehub.store.embeddings import EmbeddingKind, begin_embedding, save_embeddings
from featurehub.store.nearest_postgres import index_vectors
from featurehub.store.registry import owned_artifact

__all__ = ["Vectors"]


class Vectors:
    """The vectors of features' texts, in a transaction that writes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def begin(self, artifact: str, embedder: str, dimensions: int) -> None:
        """Makes an embedder (by identity) the artifact's. The vectors of a former one are deleted.

        Raises:
            ArtifactNotFound: The artifact is not registered.
            InvalidInput: The vectors are too long.
        """
        begin_embedding(self._session, owned_artifact(self._session, artifact).id, embedder, dimensions)

    def put(
        self, artifact: str, embedder: str, kind: EmbeddingKind, texts: Mapping[str, str], vectors: NDArray[np.float32]
    ) -> int:
        """Stores vectors of features' texts.

        Args:
            artifact: Id of the SAE.
            embedder: Identity of the embedder that they come from, for which ``begin`` was called.
            kind: Which texts.
            texts: The text that was embedded, by the feature's id.
            vectors: One row of length 1 per text.

        Returns:
            How many were stored: a feature whose text has changed meanwhile gets none.

        Raises:
            EmbedderMismatch: Another embedder is the artifact's meanwhile.
        """
        return save_embeddings(self._session, artifact, embedder, kind, texts, vectors)

    def index(self) -> None:
        """Makes the indexes of vectors that a database with many of them should have; PostgreSQL only."""
        index_vectors(self._session.connection())
