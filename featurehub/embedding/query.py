"""Embeds the queries of a server or a command."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from featurehub.embedding.embedder import Embedder
from featurehub.embedding.opening import chosen_embedder
from featurehub.store import QueryVector, Reader, Scope

__all__ = ["QueryEmbedder"]

KEPT = 1024
"""Vectors of queries in memory, those used last: pages of one search embed it once."""


class QueryEmbedder:
    """Embeds queries, where there is something to compare them with. Threads may share it.

    Args:
        opener: Opens the embedder when the first query needs it; returns None where there is none.
    """

    def __init__(self, opener: Callable[[], Embedder | None] = chosen_embedder) -> None:
        self._opener = opener
        self._opened = False
        self._embedder: Embedder | None = None
        self._kept: OrderedDict[str, QueryVector] = OrderedDict()
        self._lock = Lock()

    def vector(self, query: str, reader: Reader, scope: Scope) -> QueryVector | None:
        """A query as a vector.

        Returns:
            The vector; None for a blank query, where no SAE of the scope was embedded, and without an embedder: then
            words alone are searched.

        Raises:
            ArtifactNotFound: The scope names an SAE that is not registered.
            InvalidConfig: The embedder that was chosen cannot be opened.
            EmbedderUnavailable: Its endpoint does not answer.
        """
        if not query.strip() or not reader.embedders(scope):
            return None
        with self._lock:
            if not self._opened:
                self._embedder, self._opened = self._opener(), True
            if self._embedder is not None and query not in self._kept:
                self._kept[query] = QueryVector(self._embedder.identity, self._embedder.embed([query])[0])
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept.get(query)
