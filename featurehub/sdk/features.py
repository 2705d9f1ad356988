"""``client.features``: search, listing, one feature by its name, and what features do in chats."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack
from urllib.parse import quote, urlencode

from featurehub.features import Feature, State
from featurehub.sdk.activations import activations_body
from featurehub.sdk.autosteer import AsyncAutoFeatures, AutoFeatures
from featurehub.sdk.contrast import Contrast, ContrastOptions
from featurehub.sdk.errors import own_errors
from featurehub.sdk.feature_list import FeatureList, feature_of, page_of
from featurehub.sdk.inspection import Inspection, InspectOptions, inspect_body
from featurehub.sdk.lookup import AsyncNamedFeatures, NamedFeatures
from featurehub.sdk.readings import AsyncReadings, Readings

__all__ = ["AsyncFeatures", "Features", "SearchOptions"]

PAGE = 100
INSPECT, CONTRAST = "/features/inspect", "/features/contrast"
Message = Mapping[str, Any]
Chat = Sequence[Message]


class SearchOptions(TypedDict, total=False):
    """Which features a search may show.

    Attributes:
        layer: Only SAEs in these layers.
        min_density: Smallest share of tokens on which a feature fires.
        max_density: Largest such share.
        min_score: Smallest label score.
        steerable: Only features that were steered and then showed their label.
        state: How they stand on the loaded model.
        explain: Whether each feature says in ``found`` how it was found.
    """

    layer: Sequence[int]
    min_density: float
    max_density: float
    min_score: float
    steerable: bool
    state: Sequence[State | str]
    explain: bool


class Features(NamedFeatures, AutoFeatures, Readings):
    """The features of a server's SAEs.

    >>> found = client.features.search("pirate")
    """

    def search(
        self, q: str, limit: int = 10, *, artifact: str | None = None, after: str | None = None,
        **only: Unpack[SearchOptions],
    ) -> FeatureList:  # fmt: skip
        """Searches the features by words and by meaning.

        >>> found = client.features.search("loan", limit=3, min_score=0.5)
        >>> found[0].label
        'banking: loan, deposit'

        Args:
            q: The words.
            limit: Largest number of features, in [1, 100].
            artifact: Id or name of an SAE; by default all that the server holds.
            after: ``next`` of the page before; None for the first page.
            only: Which features may be shown, and whether each says how it was found; see ``SearchOptions``.

        Returns:
            The features closest to ``q``, best first.
        """
        return self._page(q=q, limit=limit, artifact=artifact, after=after, **only)

    def get(self, name: str) -> Feature:
        """Looks up one feature.

        >>> pirate = client.features.get("pirate")

        Args:
            name: Label, alias, slug, id or ``sae:<artifact>/<latent>``.

        Raises:
            FeatureNotFound: No feature has this name; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
        """
        with own_errors():
            return feature_of(self._client.get(path_of(name), cast_to=object))

    def inspect(self, chat: str | Sequence[Message], **options: Unpack[InspectOptions]) -> Inspection:
        """What the features do in a chat or text that is there already.

        >>> found = client.features.inspect(chat)
        >>> found.top(1)[0].label
        'banking: loan, deposit'

        Args:
            chat: A text, or the messages of a chat.
            options: What is asked for; see ``InspectOptions``.

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
        """
        asked = inspect_body(chat, activations_body(options))
        with own_errors():
            return Inspection(self._client.post(INSPECT, body=asked, cast_to=object))

    def contrast(
        self, dataset_1: Sequence[Chat], dataset_2: Sequence[Chat], **options: Unpack[ContrastOptions]
    ) -> Contrast:
        """The features that tell two sets of chats apart.

        >>> other = [{"role": "user", "content": "Are you a pirate?"}]
        >>> found = client.features.contrast([chat], [other])
        >>> found.dataset_2[0].label
        'pirate'

        Args:
            dataset_1: Chats, each a list of messages.
            dataset_2: Chats that lack what those have, or have what they lack.
            options: What is asked for; see ``ContrastOptions``.
        """
        body = {"dataset_1": dataset_1, "dataset_2": dataset_2, **options}
        return Contrast.of(self._client.post(CONTRAST, body=body, cast_to=object))

    def list(self, *, artifact: str | None = None) -> Iterator[Feature]:
        """Lists every feature, fetching page by page.

        >>> labels = [each.label for each in client.features.list()]

        Args:
            artifact: Id or name of an SAE; by default all that the server holds.

        Yields:
            The features, best first: by label score times steerability.
        """
        page = self._page(limit=PAGE, artifact=artifact)
        yield from page
        while page.next:
            page = self._page(limit=PAGE, artifact=artifact, after=page.next)
            yield from page

    def _page(self, **query: object) -> FeatureList:
        return page_of(self._client.get(listing(query), cast_to=object))


class AsyncFeatures(AsyncNamedFeatures, AsyncAutoFeatures, AsyncReadings):
    """``Features`` for asyncio.

    >>> found = await client.features.search("pirate")
    """

    async def search(
        self, q: str, limit: int = 10, *, artifact: str | None = None, after: str | None = None,
        **only: Unpack[SearchOptions],
    ) -> FeatureList:  # fmt: skip
        """See ``Features.search``.

        >>> found = await client.features.search("loan", limit=3, min_score=0.5)
        >>> found[0].label
        'banking: loan, deposit'
        """
        return await self._page(q=q, limit=limit, artifact=artifact, after=after, **only)

    async def get(self, name: str) -> Feature:
        """See ``Features.get``.

        >>> pirate = await client.features.get("pirate")
        """
        with own_errors():
            return feature_of(await self._client.get(path_of(name), cast_to=object))

    async def inspect(self, chat: str | Sequence[Message], **options: Unpack[InspectOptions]) -> Inspection:
        """See ``Features.inspect``.

        >>> found = await client.features.inspect(chat)
        >>> found.top(1)[0].label
        'banking: loan, deposit'
        """
        asked = inspect_body(chat, activations_body(options))
        with own_errors():
            return Inspection(await self._client.post(INSPECT, body=asked, cast_to=object))

    async def contrast(
        self, dataset_1: Sequence[Chat], dataset_2: Sequence[Chat], **options: Unpack[ContrastOptions]
    ) -> Contrast:
        """See ``Features.contrast``.

        >>> other = [{"role": "user", "content": "Are you a pirate?"}]
        >>> found = await client.features.contrast([chat], [other])
        >>> found.dataset_2[0].label
        'pirate'
        """
        body = {"dataset_1": dataset_1, "dataset_2": dataset_2, **options}
        return Contrast.of(await self._client.post(CONTRAST, body=body, cast_to=object))

    async def list(self, *, artifact: str | None = None) -> AsyncIterator[Feature]:
        """See ``Features.list``.

        >>> labels = [each.label async for each in client.features.list()]
        """
        page = await self._page(limit=PAGE, artifact=artifact)
        for each in page:
            yield each
        while page.next:
            page = await self._page(limit=PAGE, artifact=artifact, after=page.next)
            for each in page:
                yield each

    async def _page(self, **query: object) -> FeatureList:
        return page_of(await self._client.get(listing(query), cast_to=object))


def listing(query: Mapping[str, object]) -> str:
    """The path of a search. Lists repeat their key, as FastAPI reads them; openai's client would write ``key[]``."""
    return f"/features?{urlencode({key: value for key, value in query.items() if value is not None}, doseq=True)}"


def path_of(name: str) -> str:
    return f"/features/{quote(name, safe='')}"
