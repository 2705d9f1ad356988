"""``features/…`` and ``attributions/neighbors`` of Goodfire's format: search, and what is near to features."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.deployment import CurrentDeployment, Deployment
from api.features import search
from api.goodfire.numbers import LatentNumbers, address_of
from api.goodfire.rows import FeatureList, GoodfireFeature, check_model, rows_at, rows_of
from api.lookup import LOOKUP_MAX, FeatureRows, NeighborsBody, RerankBody, neighbors, rerank
from featurehub.features import Feature
from featurehub.settings import Frozen

__all__ = ["router"]

LISTED, LOOKED_UP, PAGES = 50, 10_000, 100
router = APIRouter(tags=["goodfire"])
Words = Annotated[str, Query(max_length=200)]
Page = Annotated[int, Query(ge=1, le=PAGES)]
PerPage = Annotated[int, Query(ge=1, le=1000, alias="perPage")]
TopK = Annotated[int, Field(ge=1, le=100)]
Uuids = Annotated[list[UUID], Query(min_length=1, max_length=LISTED)]


class LookupBody(Frozen):
    """The body of a look-up.

    Attributes:
        indices: Numbers of features.
        model: What the server runs.
    """

    indices: tuple[int, ...] = Field(max_length=LOOKED_UP)
    model: str


class NeighborsOf(Frozen):
    """The body of a request for neighbors.

    Attributes:
        feature_indices: Numbers of features; what is near to all of them together is asked for.
        top_k: How many features are returned.
        model: What the server runs.
    """

    feature_indices: tuple[int, ...] = Field(min_length=1, max_length=LOOKUP_MAX)
    top_k: TopK = 10
    model: str


class Neighbors(Frozen):
    """The nearest features first."""

    neighbors: tuple[GoodfireFeature, ...]


class RankedBody(Frozen):
    """The body of a request for an order.

    Attributes:
        query: What the features should be about.
        feature_ids: Their UUIDs.
        top_k: How many of them are returned.
        model: What the server runs.
    """

    query: str = Field(min_length=1, max_length=200)
    feature_ids: tuple[UUID, ...] = Field(min_length=1, max_length=LOOKUP_MAX)
    top_k: TopK = 10
    model: str


@router.get("/features/search")
def search_features(
    deployment: CurrentDeployment, query: Words, model: str, page: Page = 1, per_page: PerPage = 10
) -> FeatureList:
    """Searches features as ``GET /v1/features`` does."""
    check_model(model, deployment)
    found: tuple[Feature, ...] = ()
    after: str | None = None
    for turn in range(page):
        if turn and after is None:
            found = ()
            break
        paged = search(deployment, query, per_page, after)
        found, after = paged.data, paged.next
    with deployment.store.read() as reader:
        return rows_of(found, LatentNumbers.of(deployment, reader))


@router.get("/features/")
def list_features(deployment: CurrentDeployment, feature_id: Uuids) -> FeatureList:
    """The features with these UUIDs, in their order."""
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        return rows_at([numbers.place_of(each) for each in feature_id], numbers, reader)


@router.post("/features/lookup")
def lookup(deployment: CurrentDeployment, body: LookupBody) -> FeatureList:
    """The features with these numbers, in their order."""
    check_model(body.model, deployment)
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        return rows_at([*numbers.places(body.indices)], numbers, reader)


@router.post("/features/rerank")
def rerank_features(deployment: CurrentDeployment, body: RankedBody) -> FeatureList:
    """The features in the order in which a search for the query would rank them."""
    check_model(body.model, deployment)
    names = tuple(map(address_of, body.feature_ids))
    ordered = rerank(deployment, RerankBody(query=body.query, features=names, limit=body.top_k))
    return listed(ordered, deployment)


@router.post("/attributions/neighbors")
def neighbors_of(deployment: CurrentDeployment, body: NeighborsOf) -> Neighbors:
    """The features that are near to all of the given ones together, nearest first."""
    check_model(body.model, deployment)
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        names = tuple(f"sae:{sae}/{latent}" for sae, latent in numbers.places(body.feature_indices))
    near = neighbors(deployment, NeighborsBody(features=names, limit=body.top_k))
    return Neighbors(neighbors=listed(near, deployment).features)


def listed(found: FeatureRows, deployment: Deployment) -> FeatureList:
    """The rows of one of our own answers."""
    with deployment.store.read() as reader:
        return rows_of(found.data, LatentNumbers.of(deployment, reader))
