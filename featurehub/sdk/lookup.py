"""What ``client.features`` says of features that are named: ``lookup``, ``neighbors`` and ``rerank``."""

from collections.abc import Iterable, Mapping
from typing import Any

from openai import AsyncOpenAI, OpenAI

from featurehub.sdk.errors import own_errors
from featurehub.sdk.feature_list import FeatureList, page_of
from featurehub.sdk.named import Named, key_of, many

__all__ = ["AsyncNamedFeatures", "NamedFeatures"]

LOOKUP, NEIGHBORS, RERANK = (f"/features/{each}" for each in ("lookup", "neighbors", "rerank"))
Several = Named | Iterable[Named]


class NamedFeatures:
    """What the server knows of features that are named.

    >>> pirate, formal = client.features.lookup(["pirate", "formal"])
    """

    _client: OpenAI

    def lookup(self, features: Iterable[Named | int], *, sae: str | None = None) -> FeatureList:
        """Several features at once.

        >>> found = client.features.lookup(["pirate", "formal", 2])
        >>> [each.label for each in found]
        ['pirate', 'formal', 'banking: loan, deposit']

        Args:
            features: Names, ids or addresses, and indices in an SAE; at most 64.
            sae: The SAE, by its id, name or alias; may be left out where the server holds a single one.

        Returns:
            The features in this order; the indices of which no feature is known are in ``missing``.

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have one of them; the error carries their ids.
        """
        return self._listed(LOOKUP, lookup_body(features, sae))

    def neighbors(self, features: Several, limit: int = 10, *, sae: str | None = None) -> FeatureList:
        """The features that are near: by what they write, by where they fire, and by their label.

        >>> near = client.features.neighbors("banking", limit=3)

        Args:
            features: A feature or group, its name, or several of them; at most 64 features.
            limit: Largest number of features, in [1, 100].
            sae: The only SAE that is looked in; by default all that the server holds.

        Returns:
            The nearest first, each with its ``relevance``, and in ``found`` in what it is near.

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have one of them; the error carries their ids.
        """
        return self._listed(NEIGHBORS, neighbors_body(features, limit, sae))

    def rerank(self, query: str, features: Several, limit: int = 100) -> FeatureList:
        """Features in the order in which a search for the query would rank them.

        >>> found = client.features.rerank("loan", ["pirate", "banking"])
        >>> found[0].label
        'banking: loan, deposit'

        Args:
            query: What they should be about.
            features: Features or groups, or their names; at most 64 features.
            limit: How many of them are returned, in [1, 100].

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have one of them; the error carries their ids.
        """
        return self._listed(RERANK, rerank_body(query, features, limit))

    def _listed(self, path: str, body: Mapping[str, object]) -> FeatureList:
        with own_errors():
            return page_of(self._client.post(path, body=body, cast_to=object))


class AsyncNamedFeatures:
    """``NamedFeatures`` for asyncio.

    >>> pirate, formal = await client.features.lookup(["pirate", "formal"])
    """

    _client: AsyncOpenAI

    async def lookup(self, features: Iterable[Named | int], *, sae: str | None = None) -> FeatureList:
        """See ``NamedFeatures.lookup``.

        >>> found = await client.features.lookup(["pirate", "formal", 2])
        >>> [each.label for each in found]
        ['pirate', 'formal', 'banking: loan, deposit']
        """
        return await self._listed(LOOKUP, lookup_body(features, sae))

    async def neighbors(self, features: Several, limit: int = 10, *, sae: str | None = None) -> FeatureList:
        """See ``NamedFeatures.neighbors``.

        >>> near = await client.features.neighbors("banking", limit=3)
        """
        return await self._listed(NEIGHBORS, neighbors_body(features, limit, sae))

    async def rerank(self, query: str, features: Several, limit: int = 100) -> FeatureList:
        """See ``NamedFeatures.rerank``.

        >>> found = await client.features.rerank("loan", ["pirate", "banking"])
        >>> found[0].label
        'banking: loan, deposit'
        """
        return await self._listed(RERANK, rerank_body(query, features, limit))

    async def _listed(self, path: str, body: Mapping[str, object]) -> FeatureList:
        with own_errors():
            return page_of(await self._client.post(path, body=body, cast_to=object))


def lookup_body(features: Iterable[Named | int], sae: str | None) -> dict[str, Any]:
    return {"features": [each if isinstance(each, int) else key_of(each) for each in features], "sae": sae}


def neighbors_body(features: Several, limit: int, sae: str | None) -> dict[str, Any]:
    return {"features": keys_of(features), "sae": sae, "limit": limit}


def rerank_body(query: str, features: Several, limit: int) -> dict[str, Any]:
    return {"query": query, "features": keys_of(features), "limit": limit}


def keys_of(features: Several) -> list[str]:
    return [key_of(each) for each in many(features)]
