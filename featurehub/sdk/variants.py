"""``client.variants``: variants that the server stores, in versions that never change."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

from openai import AsyncOpenAI, OpenAI

from featurehub.conditions import FeatureAbort
from featurehub.features import Edit
from featurehub.sdk.errors import own_errors
from featurehub.sdk.groups import key
from featurehub.sdk.variant import Variant
from featurehub.variants import StoredVariant

__all__ = ["AsyncVariants", "Variants", "stored_variant"]

PATH = "/variants"
PAGE = 100
NOTHING = type(None)


class Variants:
    """The variants of a server. Saving and deleting is for operators, whose key is ``$FEATUREHUB_OPERATOR_KEY``.

    >>> stored = client.variants.save("pirate-bank", Variant("demo").set("pirate", 0.7))
    >>> answer = client.chat.completions.create(model="pirate-bank", messages=chat)
    >>> answer.featurehub["variant"]
    {'name': 'pirate-bank', 'version': 1}
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def list(self) -> tuple[StoredVariant, ...]:
        """All variants by name, each in its latest version.

        >>> stored = client.variants.list()
        >>> names = [each.name for each in stored]
        """
        return tuple(map(stored_variant, self._pages(PATH, "after")))

    def versions(self, name: str) -> tuple[StoredVariant, ...]:
        """All versions of a variant, latest first. Raises VariantNotFound.

        >>> latest, *older = client.variants.versions("pirate-bank")
        """
        return tuple(map(stored_variant, self._pages(f"{path_of(name)}/versions", "before")))

    def get(self, name: str) -> StoredVariant:
        """The latest version of a variant, or the one that ``name@version`` says. Raises VariantNotFound.

        >>> stored = client.variants.get("pirate-bank@1")
        >>> stored.version
        1
        """
        with own_errors():
            return stored_variant(self._client.get(path_of(name), cast_to=object))

    def load(self, name: str) -> Variant:
        """What ``get`` returns, as a variant that can be changed. Raises VariantNotFound.

        >>> variant = client.variants.load("pirate-bank")
        >>> variant
        Variant('demo', {pirate: nudge +0.7})
        """
        return Variant.stored(self.get(name))

    def save(self, name: str, variant: Variant, description: str = "") -> StoredVariant:
        """Saves a variant for everyone, as the next version; where nothing has changed, the latest is returned.

        >>> stored = client.variants.save("formal-bank", Variant("demo").set("formal", 0.5))

        Args:
            name: The name, which a request then gives as ``model``: letters, digits, dots, hyphens, underscores.
            variant: The variant. What its names mean now is saved with it.
            description: What it is for.

        Raises:
            FeatureNotFound: No feature has one of the names.
            AmbiguousFeature: Several features have one of them.
        """
        body = wire(name, variant, description)
        with own_errors():
            return stored_variant(self._client.post(PATH, cast_to=object, body=body, options={"headers": key()}))

    def delete(self, name: str) -> None:
        """Deletes a variant with all its versions. Raises VariantNotFound.

        >>> stored = client.variants.save("draft", Variant("demo").set("formal", 0.5))
        >>> client.variants.delete("draft")
        """
        with own_errors():
            self._client.delete(path_of(name), cast_to=NOTHING, options={"headers": key()})

    def _pages(self, path: str, cursor: str) -> Iterator[Any]:
        query: dict[str, object] = {"limit": PAGE}
        while True:
            with own_errors():
                page: Any = self._client.get(path, cast_to=object, options={"params": query})
            yield from page["data"]
            if page["next"] is None:
                return
            query[cursor] = page["next"]


class AsyncVariants:
    """``Variants`` for asyncio.

    >>> answer = await client.chat.completions.create(model="pirate-bank", messages=chat)
    >>> answer.featurehub["variant"]
    {'name': 'pirate-bank', 'version': 1}
    """

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def list(self) -> tuple[StoredVariant, ...]:
        """See ``Variants.list``.

        >>> stored = await client.variants.list()
        >>> names = [each.name for each in stored]
        """
        return tuple([stored_variant(each) async for each in self._pages(PATH, "after")])

    async def versions(self, name: str) -> tuple[StoredVariant, ...]:
        """See ``Variants.versions``.

        >>> latest, *older = await client.variants.versions("pirate-bank")
        """
        return tuple([stored_variant(each) async for each in self._pages(f"{path_of(name)}/versions", "before")])

    async def get(self, name: str) -> StoredVariant:
        """See ``Variants.get``.

        >>> stored = await client.variants.get("pirate-bank@1")
        >>> stored.version
        1
        """
        with own_errors():
            return stored_variant(await self._client.get(path_of(name), cast_to=object))

    async def load(self, name: str) -> Variant:
        """See ``Variants.load``.

        >>> variant = await client.variants.load("pirate-bank")
        >>> variant
        Variant('demo', {pirate: nudge +0.7})
        """
        return Variant.stored(await self.get(name))

    async def save(self, name: str, variant: Variant, description: str = "") -> StoredVariant:
        """See ``Variants.save``.

        >>> stored = await client.variants.save("formal-bank", Variant("demo").set("formal", 0.5))
        """
        body = wire(name, variant, description)
        with own_errors():
            return stored_variant(await self._client.post(PATH, cast_to=object, body=body, options={"headers": key()}))

    async def delete(self, name: str) -> None:
        """See ``Variants.delete``.

        >>> stored = await client.variants.save("draft", Variant("demo").set("formal", 0.5))
        >>> await client.variants.delete("draft")
        """
        with own_errors():
            await self._client.delete(path_of(name), cast_to=NOTHING, options={"headers": key()})

    async def _pages(self, path: str, cursor: str) -> AsyncIterator[Any]:
        query: dict[str, object] = {"limit": PAGE}
        while True:
            with own_errors():
                page: Any = await self._client.get(path, cast_to=object, options={"params": query})
            for each in page["data"]:
                yield each
            if page["next"] is None:
                return
            query[cursor] = page["next"]


def stored_variant(row: Any) -> StoredVariant:
    """A version from JSON. Unknown keys are left out, since a newer server may send more, but refused in edits."""
    taken = {
        "features": {name: Edit(**each) for name, each in row["features"].items()},
        "abort_when": tuple(map(FeatureAbort.model_validate, row["abort_when"])),
    }
    return StoredVariant.model_validate(row | taken, extra="ignore")


def wire(name: str, variant: Variant, description: str) -> dict[str, object]:
    snapshot = variant.snapshot()
    return {
        "name": name, "model": snapshot.model, "features": snapshot.features(), "abort_when": snapshot.abort_when(),
        "description": description,
    }  # fmt: skip


def path_of(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
