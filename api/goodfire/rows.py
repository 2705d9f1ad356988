"""Features as Goodfire's format shows them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from pydantic import Field

from api.answer import features_at
from api.deployment import Deployment
from api.goodfire.numbers import LatentNumbers, Place, uuid_of
from featurehub.errors import ModelNotFound
from featurehub.features import Feature
from featurehub.settings import Frozen
from featurehub.store import Reader, Scope

__all__ = ["FeatureList", "GoodfireFeature", "check_model", "places_of", "row_of", "rows_at", "rows_of"]

ADDRESS = re.compile(r"sae:([0-9a-f]{64})/(\d+)")


class GoodfireFeature(Frozen):
    """A feature.

    Attributes:
        id: Its UUID.
        uuid: The same, where Goodfire's client reads it under this name.
        label: Its label; "" where it has none.
        index_in_sae: Its number.
        relevance: How well it matches a search, in [0, 1]; 1 outside a search.
    """

    id: UUID
    uuid: UUID
    label: str
    index_in_sae: int = Field(ge=0)
    relevance: float = 1.0


class FeatureList(Frozen):
    """Features in an order."""

    features: tuple[GoodfireFeature, ...]


def check_model(name: str, deployment: Deployment) -> None:
    """Checks that ``name`` is what this server runs.

    Raises:
        ModelNotFound: It serves another model.
    """
    served = deployment.served
    if served is not None and name not in served.names:
        known = ", ".join(map(repr, served.names))
        raise ModelNotFound(f"the model {name!r} is not served here; this server's is {known}", param="model")


def row_of(place: Place, label: str, numbers: LatentNumbers, relevance: float | None = None) -> GoodfireFeature:
    """The row of a latent."""
    uuid = uuid_of(*place)
    number = numbers.number(*place)
    relevance = 1.0 if relevance is None else relevance
    return GoodfireFeature(id=uuid, uuid=uuid, label=label, index_in_sae=number, relevance=relevance)


def rows_of(features: Iterable[Feature], numbers: LatentNumbers) -> FeatureList:
    """The rows of features, in their order."""
    rows = (row_of(Place(each.artifact, each.latent), each.label, numbers, each.relevance) for each in features)
    return FeatureList(features=tuple(rows))


def rows_at(places: Sequence[Place], numbers: LatentNumbers, reader: Reader) -> FeatureList:
    """The rows of latents, in their order. One without a feature has the label ""."""
    known = features_at(places, reader)
    labels = {place: known[place].label if place in known else "" for place in places}
    return FeatureList(features=tuple(row_of(each, labels[each], numbers) for each in places))


def places_of(ids: Iterable[str], reader: Reader, scope: Scope) -> Mapping[str, Place]:
    """The latents that our own answers name, by id or, where they have no feature, by address."""
    asked = {*ids}
    addressed = {each: address.groups() for each in asked if (address := ADDRESS.fullmatch(each))}
    found = reader.resolve_many(asked - addressed.keys(), scope)
    named = {id: Place(each.artifact, each.latent) for id, each in found.items()}
    return named | {id: Place(sae, int(latent)) for id, (sae, latent) in addressed.items()}
