"""``/v1/groups``: names that stand for several features. Everybody may read them; operators save and remove them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header
from pydantic import Field

from api.deployment import CurrentDeployment
from api.exchange import check_operator
from featurehub.groups import DESCRIPTION_CHARS, MEMBERS_MAX, FeatureGroup
from featurehub.settings import Frozen, Limits

__all__ = ["GroupList", "NewGroup", "router"]

router = APIRouter(prefix="/v1/groups", tags=["groups"])
Name = Annotated[str, Field(min_length=1, max_length=Limits().name_chars)]
Key = Annotated[str, Header()]


class NewGroup(Frozen):
    """A group to save.

    Attributes:
        name: The name; a group of this name is replaced.
        members: The weight of each feature, by its name, slug, id or address: in [-1, 1] and not 0.
        description: What it is for.
        method: How its members were found.
    """

    name: Name
    members: dict[Name, float] = Field(min_length=1, max_length=MEMBERS_MAX)
    description: str = Field(default="", max_length=DESCRIPTION_CHARS)
    method: str = Field(default="by hand", max_length=200)


class GroupList(Frozen):
    """All groups with a member in a served SAE, in the shape of OpenAI's lists.

    Attributes:
        object: Always "list".
        data: The groups, by name.
    """

    object: Literal["list"] = "list"
    data: tuple[FeatureGroup, ...]


@router.get("")
def groups(deployment: CurrentDeployment) -> GroupList:
    """Lists the groups."""
    with deployment.store.read() as reader:
        return GroupList(data=reader.groups.list(deployment.scope))


@router.post("")
def save(asked: NewGroup, deployment: CurrentDeployment, x_featurehub_key: Key = "") -> FeatureGroup:
    """Saves a group of features of the served SAEs. For operators, since it changes what names mean."""
    check_operator(x_featurehub_key, deployment)
    with deployment.store.write() as writer:
        return writer.put_group(
            asked.name, asked.members, deployment.scope, description=asked.description, method=asked.method
        )


# Names may have slashes, so these routes take every path that is left.
@router.get("/{name:path}")
def group(deployment: CurrentDeployment, name: str) -> FeatureGroup:
    """One group by its name or id, whole or not."""
    with deployment.store.read() as reader:
        return reader.groups.get(name, deployment.scope)


@router.delete("/{name:path}", status_code=204)
def remove(name: str, deployment: CurrentDeployment, x_featurehub_key: Key = "") -> None:
    """Removes a group by its name or id. For operators."""
    check_operator(x_featurehub_key, deployment)
    with deployment.store.write() as writer:
        writer.remove_group(name)
