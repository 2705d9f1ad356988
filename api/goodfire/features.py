"""``features/…`` of Goodfire's format: search, and features by their UUIDs and numbers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.deployment import CurrentDeployment
from api.features import search
from api.goodfire.numbers import LatentNumbers
from api.goodfire.rows import FeatureList, check_model, rows_at, rows_of
from featurehub.features import Feature
from featurehub.settings import Frozen

__all__ = ["router"]

LISTED, LOOKED_UP, PAGES = 50, 10_000, 100
router = APIRouter(prefix="/features", tags=["goodfire"])
Words = Annotated[str, Query(max_length=200)]
Page = Annotated[int, Query(ge=1, le=PAGES)]
PerPage = Annotated[int, Query(ge=1, le=1000, alias="perPage")]
Uuids = Annotated[list[UUID], Query(min_length=1, max_length=LISTED)]


class LookupBody(Frozen):
    """The body of a look-up.

    Attributes:
        indices: Numbers of features.
        model: What the server runs.
    """

    indices: tuple[int, ...] = Field(max_length=LOOKED_UP)
    model: str


@router.get("/search")
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
        listed = search(deployment, query, per_page, after)
        found, after = listed.data, listed.next
    with deployment.store.read() as reader:
        return rows_of(found, LatentNumbers.of(deployment, reader))


@router.get("/")
def list_features(deployment: CurrentDeployment, feature_id: Uuids) -> FeatureList:
    """The features with these UUIDs, in their order."""
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        return rows_at([numbers.place_of(each) for each in feature_id], numbers, reader)


@router.post("/lookup")
def lookup(deployment: CurrentDeployment, body: LookupBody) -> FeatureList:
    """The features with these numbers, in their order."""
    check_model(body.model, deployment)
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        return rows_at([*numbers.places(body.indices)], numbers, reader)
