"""``/v1/variants``: named edits on a model, in versions, which a request may give as its ``model``."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import Field

from api.deployment import CurrentDeployment, Deployment
from api.exchange import check_operator
from api.plan import make_plan
from api.request import Name, SteeringRequest
from api.used_variant import refuse_taken
from featurehub.conditions import FeatureAbort
from featurehub.errors import InvalidInput
from featurehub.features import Edit, SteerOptions
from featurehub.groups import DESCRIPTION_CHARS
from featurehub.parsing import parse_edits
from featurehub.settings import Frozen, Limits
from featurehub.store import Reader
from featurehub.variants import MODEL_CHARS, StoredVariant

__all__ = ["NewVariant", "VariantList", "VersionList", "router", "with_variants"]

router = APIRouter(prefix="/v1/variants", tags=["variants"])
Key = Annotated[str, Header()]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=100, description="`next` of the page before")]
Before = Annotated[int | None, Query(ge=1, le=10**9, description="`next` of the page before")]
Weight = Annotated[float, Field(strict=True, ge=-1, le=1)]


class NewVariant(Frozen):
    """The next version of a variant.

    Attributes:
        name: The name, which a request then gives as ``model``: letters, digits, dots, hyphens and underscores.
        model: The model that answers; by default the one that this server serves.
        features: Its edits, as in a request.
        abort_when: Its aborts, as in a request.
        description: What it is for.
    """

    name: str = Field(min_length=1, max_length=100)
    model: str | None = Field(default=None, min_length=1, max_length=MODEL_CHARS)
    features: dict[Name, Weight | Edit] = Field(default={}, max_length=Limits().edits)
    abort_when: tuple[FeatureAbort, ...] = Field(default=(), max_length=Limits().aborts)
    description: str = Field(default="", max_length=DESCRIPTION_CHARS)

    def asked(self, limits: Limits) -> SteeringRequest:
        """The request that it stands for. Raises InvalidEdit."""
        features = {name: each.model_dump() if isinstance(each, Edit) else each for name, each in self.features.items()}
        return SteeringRequest(edits=parse_edits(features, limits), steer=SteerOptions(), aborts=self.abort_when)


class VariantList(Frozen):
    """One page of variants by name, each in its latest version, in the shape of OpenAI's lists.

    Attributes:
        object: Always "list".
        data: The variants.
        next: The ``after`` of the following page; None on the last page.
        has_more: Whether another page follows.
    """

    object: Literal["list"] = "list"
    data: tuple[StoredVariant, ...]
    next: str | None
    has_more: bool


class VersionList(Frozen):
    """One page of a variant's versions, latest first.

    Attributes:
        object: Always "list".
        data: The versions.
        next: The ``before`` of the following page; None on the last page.
        has_more: Whether another page follows.
    """

    object: Literal["list"] = "list"
    data: tuple[StoredVariant, ...]
    next: int | None
    has_more: bool


@router.get("")
def variants(deployment: CurrentDeployment, limit: Limit = 20, after: After = "") -> VariantList:
    """Lists the variants."""
    with deployment.store.read() as reader:
        found = reader.variants.list(deployment.scope.owner, limit + 1, after)
        page, more = with_fates(found[:limit], reader, deployment), len(found) > limit
    return VariantList(data=page, next=page[-1].name if more else None, has_more=more)


@router.post("")
def save(asked: NewVariant, deployment: CurrentDeployment, x_featurehub_key: Key = "") -> StoredVariant:
    """Saves the next version of a variant; the latest is returned where nothing of it would change. For operators."""
    check_operator(x_featurehub_key, deployment)
    steering, model = asked.asked(deployment.limits), model_of(asked, deployment)
    with deployment.store.write() as writer:
        check_plan(steering, model, deployment, writer.reader)
        return writer.variants.save(
            asked.name, model, steering.edits, steering.aborts, deployment.scope, description=asked.description
        )


@router.get("/{name}/versions")
def versions(deployment: CurrentDeployment, name: str, limit: Limit = 20, before: Before = None) -> VersionList:
    """Lists the versions of a variant, latest first."""
    with deployment.store.read() as reader:
        found = reader.variants.versions(name, deployment.scope.owner, limit + 1, before)
        page, more = with_fates(found[:limit], reader, deployment), len(found) > limit
    return VersionList(data=page, next=page[-1].version if more else None, has_more=more)


@router.get("/{name}")
def variant(deployment: CurrentDeployment, name: str) -> StoredVariant:
    """A variant in its latest version, or in the one that ``name@version`` says."""
    with deployment.store.read() as reader:
        [found] = with_fates([reader.variants.get(name, deployment.scope.owner)], reader, deployment)
        return found


@router.delete("/{name}", status_code=204)
def remove(name: str, deployment: CurrentDeployment, x_featurehub_key: Key = "") -> None:
    """Removes a variant with all its versions. For operators."""
    check_operator(x_featurehub_key, deployment)
    with deployment.store.write() as writer:
        writer.variants.remove(name)


def with_fates(variants: Sequence[StoredVariant], reader: Reader, deployment: Deployment) -> tuple[StoredVariant, ...]:
    """The variants with what became of their features, where an SAE is served that was refreshed from theirs."""
    if (served := deployment.served) is None:
        return tuple(variants)
    return tuple(reader.variants.with_fates(each, served.saes) for each in variants)


def model_of(asked: NewVariant, deployment: Deployment) -> str:
    """The model of a new variant, whose name is not taken. Raises InvalidInput."""
    if (served := deployment.served) is None:
        if asked.model is None:
            raise InvalidInput('this server serves no model; say which with "model"', param="model")
        return asked.model
    known = (*served.names, *deployment.adapters())
    refuse_taken(asked.name, known)
    model = asked.model or next(iter(known), "")
    if model not in known:
        raise InvalidInput(f"{model!r} is not served here, but {', '.join(map(repr, known))}", param="model")
    return model


def check_plan(asked: SteeringRequest, model: str, deployment: Deployment, reader: Reader) -> None:
    """Makes the plan of such a request, so that what cannot be used is not saved; raises what ``make_plan`` raises."""
    if deployment.served is not None:
        make_plan(asked, reader, deployment.served.running(model), deployment.limits)


def with_variants(models: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    """vLLM's list of models with the variants of these, as it lists LoRA adapters: below the model that answers."""
    cards = {each["id"]: each for each in models["data"]}
    with deployment.store.read() as reader:
        heads = reader.variants.heads(deployment.scope.owner)
    own = [
        {**cards[each.model], "id": each.name, "created": each.created, "root": each.model, "parent": each.model}
        for each in heads
        if each.model in cards and each.name not in cards
    ]
    return {**models, "data": [*models["data"], *own]}
