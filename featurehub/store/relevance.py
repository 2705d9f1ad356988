"""Which features are near to others, and in which order features answer a query.

Neighbors:

1. Lists for each of the given features: latents of its SAE whose decoder rows are most similar, and those that fire on
   the same tokens (Jaccard's index), both as labelling stored them; and features of all SAEs of the scope whose label's
   vector is nearest to its own label's, where both were embedded by one embedder.
2. Relevance is the fused rank over all lists (``fuse.reciprocal``): 1 for the nearest. Given features are left out.

A query ranks the given features alone, as ``search`` does. A vector by itself finds the features whose label, or whose
promoted tokens, are nearest to it, by fused rank.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.features import Feature, Found
from featurehub.records import Scope
from featurehub.store.directory import Directory
from featurehub.store.embeddings import EmbeddingKind, embedders_of, load_vectors
from featurehub.store.fuse import reciprocal
from featurehub.store.lookup import saes_of
from featurehub.store.near import Near, QueryVector
from featurehub.store.nearest import check_embedders, nearest, nearest_of_each
from featurehub.store.rows import load_features
from featurehub.store.schema import FeatureRecord
from featurehub.store.search import find
from featurehub.store.statistics import id_of

__all__ = ["Relevance"]


class Relevance:
    """How relevant features are to other features, and to a query, in one snapshot.

    Args:
        session: The session to read through.
        directory: The registered artifacts.
    """

    def __init__(self, session: Session, directory: Directory) -> None:
        self._session = session
        self._directory = directory

    def neighbors(self, features: Sequence[Feature], scope: Scope, limit: int) -> tuple[Feature, ...]:
        """The features that are near to all of the given ones together.

        Args:
            features: The given features.
            scope: The SAEs to look in.
            limit: How many at most.

        Returns:
            The nearest first, each with its relevance, and in ``found`` by which lists: "decoder", "coactive" (with
            Jaccard's index as its similarity) or "label" (with the cosine). Of several lists from one source, the
            place is the best.

        Raises:
            ArtifactNotFound: The scope names an SAE that is not registered.
        """
        given, saes = {each.id for each in features}, saes_of(self._directory, scope)
        lists = [
            (source, [near for near in each if near.id not in given])
            for source, each in self._lists(features, saes, limit + len(given))
        ]
        relevance = reciprocal([[near.id for near in each] for _, each in lists])
        ids = sorted(relevance, key=lambda id: (-relevance[id], id))
        found = _found(lists)
        near = (each for each in load_features(self._session, ids, scope.owner) if each.artifact in saes)
        shown = [each.model_copy(update={"relevance": relevance[each.id], "found": found[each.id]}) for each in near]
        return tuple(shown[:limit])

    def about(self, vector: QueryVector, scope: Scope, limit: int) -> tuple[Feature, ...]:
        """The features that are about what a vector stands for.

        Args:
            vector: Of any text, or of what sets texts apart.
            scope: The SAEs to look in.
            limit: How many at most.

        Returns:
            The nearest first, each with its relevance.

        Raises:
            ArtifactNotFound: The scope names an SAE that is not registered.
            EmbedderMismatch: An SAE was embedded by another embedder.
        """
        saes = saes_of(self._directory, scope)
        embedded, kinds = check_embedders(self._session, vector, saes), (EmbeddingKind.LABEL, EmbeddingKind.TOKENS)
        lists = nearest_of_each(self._session, vector.vector, embedded, limit, kinds).values()
        relevance = reciprocal([[near.id for near in each] for each in lists])
        ids = sorted(relevance, key=lambda id: (-relevance[id], id))[:limit]
        found = load_features(self._session, ids, scope.owner)
        return tuple(each.model_copy(update={"relevance": relevance[each.id]}) for each in found)

    def rerank(
        self, query: str, features: Sequence[Feature], vector: QueryVector | None = None, owner: str = ""
    ) -> tuple[Feature, ...]:
        """The given features in the order in which a search would rank them.

        Args:
            query: The words.
            features: The features.
            vector: The query as a vector; None ranks by words alone.
            owner: Whose own aliases count beside everyone's names.

        Returns:
            All of them, best first, each with its relevance. Those that the query does not find have relevance 0, and
            come last, in the order in which they were given.

        Raises:
            EmbedderMismatch: An SAE was embedded by another embedder.
        """
        saes = sorted({each.artifact for each in features})
        if vector is not None:
            check_embedders(self._session, vector, saes)
        ranking = find(self._session, query, saes, vector=vector, owner=owner, among=[each.id for each in features])
        place = {id: at for at, id in enumerate(ranking.ids)}
        ordered = sorted(dict.fromkeys(features), key=lambda each: place.get(each.id, len(place)))
        return tuple(
            each.model_copy(update={"relevance": ranking.relevance.get(each.id, 0.0), "found": ()}) for each in ordered
        )

    def _lists(self, features: Sequence[Feature], saes: Sequence[str], k: int) -> Iterator[tuple[str, Sequence[Near]]]:
        """Step 1: each feature's lists, nearest first, each with its source."""
        ids = [each.id for each in features]
        columns = FeatureRecord.id, FeatureRecord.neighbors, FeatureRecord.coactive
        rows = self._session.execute(select(*columns).where(FeatureRecord.id.in_(ids)))
        stored = {id: (neighbors, coactive) for id, neighbors, coactive in rows}
        embedded = embedders_of(self._session, {*saes, *(each.artifact for each in features)})
        vectors = load_vectors(self._session, ids)[EmbeddingKind.LABEL]
        for id, artifact in {each.id: each.artifact for each in features}.items():
            neighbors, coactive = stored.get(id, ((), ()))
            yield "decoder", [Near(id_of(artifact, latent), 0.0) for latent in neighbors]
            yield "coactive", [Near(id_of(artifact, each["latent"]), each["jaccard"]) for each in coactive]
            if id in vectors:
                same = [sae for sae in saes if sae in embedded and embedded[sae][:2] == embedded[artifact][:2]]
                yield "label", nearest(self._session, vectors[id], same, k, EmbeddingKind.LABEL)


def _found(lists: Iterable[tuple[str, Sequence[Near]]]) -> dict[str, tuple[Found, ...]]:
    """How each feature was found, by its id: once by each source, by its best place there."""
    found: defaultdict[str, dict[str, Found]] = defaultdict(dict)
    for source, each in lists:
        for place, near in enumerate(each, start=1):
            own = found[near.id].get(source)
            if own is None or place < own.place:
                similarity = None if source == "decoder" else near.similarity
                found[near.id][source] = Found(source=source, place=place, similarity=similarity)
    return {id: tuple(each.values()) for id, each in found.items()}
