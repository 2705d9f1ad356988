"""Routes about several features that a request names: ``lookup``, ``neighbors`` and ``rerank``."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.deployment import CurrentDeployment, Deployment
from api.request import Name
from api.states import with_states
from featurehub.errors import AmbiguousFeature, InvalidInput, NotFound
from featurehub.features import Feature
from featurehub.records import ResolvedGroup
from featurehub.settings import Frozen
from featurehub.store import Reader, Scope

__all__ = [
    "LOOKUP_MAX", "FeatureRows", "LookupBody", "NeighborsBody", "RerankBody", "lookup", "neighbors", "rerank", "router",
]  # fmt: skip

LOOKUP_MAX = 64
"""Most features that a request names."""
router = APIRouter(prefix="/v1/features", tags=["features"])
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=LOOKUP_MAX)]
Latent = Annotated[int, Field(ge=0, le=1 << 30, strict=True)]
Limit = Annotated[int, Field(ge=1, le=100, strict=True)]


class FeatureRows(Frozen):
    """Several features, in the shape of OpenAI's lists.

    Attributes:
        object: Always "list".
        data: The features, each with its state on the loaded model.
        missing: Of the indices that were asked for, those of which no feature is known: such a latent never fires.
    """

    object: Literal["list"] = "list"
    data: tuple[Feature, ...]
    missing: tuple[int, ...] = ()


class LookupBody(Frozen):
    """The body of ``lookup``.

    Attributes:
        features: Names, ids or addresses of features, and indices in ``sae``, in any order; at most 64.
        sae: The SAE, by its id, name or alias; may be left out where a single one is served.
    """

    features: Annotated[tuple[Name | Latent, ...], Field(min_length=1, max_length=LOOKUP_MAX)]
    sae: Name | None = None


class NeighborsBody(Frozen):
    """The body of ``neighbors``.

    Attributes:
        features: Names of features or groups; what is near to all of them together is asked for. At most 64.
        sae: The only SAE that is looked in, by its id, name or alias; None for all that are served.
        limit: How many features are returned, in [1, 100].
    """

    features: Names
    sae: Name | None = None
    limit: Limit = 10


class RerankBody(Frozen):
    """The body of ``rerank``.

    Attributes:
        query: What the features should be about.
        features: Names of features or groups; at most 64.
        limit: How many features are returned, in [1, 100].
    """

    query: Name
    features: Names
    limit: Limit = 100


@router.post("/lookup")
def lookup(deployment: CurrentDeployment, body: LookupBody) -> FeatureRows:
    """Several features by their names, ids, addresses or indices, in the order of the request."""
    names = [each for each in body.features if isinstance(each, str)]
    latents = {each for each in body.features if isinstance(each, int)}
    with deployment.store.read() as reader:
        scope = scope_of(body.sae, reader, deployment)
        found: dict[str | int, Feature] = {**resolved(names, reader, scope)}
        if latents:
            found |= {each.latent: each for each in reader.latents(only_sae(scope, reader), latents)}
        known = dict.fromkeys(found[each] for each in body.features if each in found)
        data = with_states(reader, known, deployment.served)
    return FeatureRows(data=data, missing=tuple(sorted(latents - found.keys())))


@router.post("/neighbors")
def neighbors(deployment: CurrentDeployment, body: NeighborsBody) -> FeatureRows:
    """The features that are near to all of the given ones together, nearest first."""
    with deployment.store.read() as reader:
        given = members(body.features, reader, deployment.scope)
        scope = scope_of(body.sae, reader, deployment)
        near = reader.relevance.neighbors(given, scope, body.limit)
        return FeatureRows(data=with_states(reader, near, deployment.served))


@router.get("/{name:path}/neighbors")
def neighbors_of(
    deployment: CurrentDeployment, name: str, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> FeatureRows:
    """The features that are near to one, nearest first: by what they write, by where they fire, and by their label."""
    with deployment.store.read() as reader:
        near = reader.relevance.neighbors([reader.resolve(name, deployment.scope)], deployment.scope, limit)
        return FeatureRows(data=with_states(reader, near, deployment.served))


@router.post("/rerank")
def rerank(deployment: CurrentDeployment, body: RerankBody) -> FeatureRows:
    """The given features in the order in which a search for the query would rank them, all of them."""
    if not body.query.strip():
        raise InvalidInput("a blank query puts no feature before another; say what they should be about", param="query")
    with deployment.store.read() as reader:
        given = members(body.features, reader, deployment.scope)
        vector = deployment.embedder.vector(body.query, reader, Scope(saes=tuple({each.artifact for each in given})))
        ordered = reader.relevance.rerank(body.query, given, vector)[: body.limit]
        return FeatureRows(data=with_states(reader, ordered, deployment.served))


def scope_of(sae: str | None, reader: Reader, deployment: Deployment) -> Scope:
    """Where names are looked up. Raises ArtifactNotFound."""
    try:
        return deployment.scope if sae is None else reader.scope(sae)
    except NotFound as error:
        error.param = "sae"
        raise


def only_sae(scope: Scope, reader: Reader) -> str:
    """The one SAE in which indices count. Raises InvalidInput where there are several."""
    saes = [each.id for each in reader.artifacts()] if scope.saes is None else scope.saes
    if len(saes) != 1:
        names = ", ".join(repr(reader.artifact(each).name) for each in saes) or "none"
        raise InvalidInput(f'an index is one of a single SAE; say which with "sae": {names}', param="sae")
    return saes[0]


def resolved(names: Iterable[str], reader: Reader, scope: Scope) -> dict[str, Feature]:
    """The feature of each name. Raises FeatureNotFound and AmbiguousFeature, whose ``param`` is the request's key."""
    try:
        return reader.resolve_many(names, scope)
    except (NotFound, AmbiguousFeature) as error:
        error.param = "features"
        raise


def members(names: Iterable[str], reader: Reader, scope: Scope) -> list[Feature]:
    """The features that are meant, those of groups included, each once. Raises InvalidInput, and as ``resolved``."""
    try:
        named = reader.resolve_named(names, scope).values()
    except (NotFound, AmbiguousFeature) as error:
        error.param = "features"
        raise
    parts = (each.features if isinstance(each, ResolvedGroup) else (each,) for each in named)
    found = list(dict.fromkeys(feature for part in parts for feature in part))
    if len(found) > LOOKUP_MAX:
        raise InvalidInput(
            f"{len(found)} features, the members of groups counted; send at most {LOOKUP_MAX}", param="features"
        )
    return found
