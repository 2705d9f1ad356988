"""``client.groups``: names that stand for several features."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from openai import AsyncOpenAI, OpenAI

from featurehub.groups import Combinable, FeatureGroup
from featurehub.sdk.errors import own_errors
from featurehub.sdk.named import key_of
from featurehub.settings import OPERATOR_KEY

__all__ = ["AsyncGroups", "Groups", "group_of"]

Members = Combinable | Mapping[Any, float]
NOTHING = type(None)


class Groups:
    """The groups of a server. Saving and removing is for operators, whose key is ``$FEATUREHUB_OPERATOR_KEY``.

    >>> group = client.groups.get("sea talk")
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def list(self) -> tuple[FeatureGroup, ...]:
        """All groups, by name.

        >>> groups = client.groups.list()
        """
        return groups_of(self._client.get("/groups", cast_to=object))

    def get(self, name: str) -> FeatureGroup:
        """One group by its name or id. Raises FeatureNotFound.

        >>> group = client.groups.get("sea talk")
        >>> group
        FeatureGroup('sea talk': pirate | -0.5 * formal)
        """
        with own_errors():
            return group_of(self._client.get(path_of(name), cast_to=object))

    def save(self, name: str, members: Members, description: str = "") -> FeatureGroup:
        """Saves a group for everyone, in place of one of this name.

        >>> group = client.groups.save("sea bank", {"pirate": 1.0, "banking": 0.5})

        Args:
            name: The name.
            members: A group such as ``a | 0.5 * b``, or features that were listed; or the weight of each feature, or
                of its name: in [-1, 1] and not 0.
            description: What it is for.

        Raises:
            FeatureNotFound: No feature has one of the names.
            AmbiguousFeature: Several features have one of them.
        """
        body = wire(name, members, description)
        with own_errors():
            return group_of(self._client.post("/groups", cast_to=object, body=body, options={"headers": key()}))

    def remove(self, name: str) -> None:
        """Removes a group by its name or id. Raises FeatureNotFound.

        >>> group = client.groups.save("draft", {"pirate": 1.0})
        >>> client.groups.remove("draft")
        """
        with own_errors():
            self._client.delete(path_of(name), cast_to=NOTHING, options={"headers": key()})


class AsyncGroups:
    """``Groups`` for asyncio.

    >>> group = await client.groups.get("sea talk")
    """

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def list(self) -> tuple[FeatureGroup, ...]:
        """See ``Groups.list``.

        >>> groups = await client.groups.list()
        """
        return groups_of(await self._client.get("/groups", cast_to=object))

    async def get(self, name: str) -> FeatureGroup:
        """See ``Groups.get``.

        >>> group = await client.groups.get("sea talk")
        >>> group
        FeatureGroup('sea talk': pirate | -0.5 * formal)
        """
        with own_errors():
            return group_of(await self._client.get(path_of(name), cast_to=object))

    async def save(self, name: str, members: Members, description: str = "") -> FeatureGroup:
        """See ``Groups.save``.

        >>> group = await client.groups.save("sea bank", {"pirate": 1.0, "banking": 0.5})
        """
        body = wire(name, members, description)
        with own_errors():
            return group_of(await self._client.post("/groups", cast_to=object, body=body, options={"headers": key()}))

    async def remove(self, name: str) -> None:
        """See ``Groups.remove``.

        >>> group = await client.groups.save("draft", {"pirate": 1.0})
        >>> await client.groups.remove("draft")
        """
        with own_errors():
            await self._client.delete(path_of(name), cast_to=NOTHING, options={"headers": key()})


def group_of(row: Any) -> FeatureGroup:
    """A group from JSON. Unknown keys are left out, since a newer server may send more."""
    return FeatureGroup.model_validate(row, extra="ignore")


def groups_of(body: Any) -> tuple[FeatureGroup, ...]:
    return tuple(map(group_of, body["data"]))


def wire(name: str, members: Members, description: str) -> dict[str, object]:
    if isinstance(members, Combinable):
        weights = {each.id: each.weight for each in members.parts()}
    else:
        weights = {key_of(each): weight for each, weight in members.items()}
    return {"name": name, "members": weights, "description": description}


def path_of(name: str) -> str:
    return f"/groups/{quote(name, safe='')}"


def key() -> dict[str, str]:
    """The header of operators; a server refuses an empty key."""
    return {"x-featurehub-key": os.environ.get(OPERATOR_KEY, "")}
