"""What the names of a request mean: features and groups of the served SAEs, with states on the loaded model."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from api.model import ServedModel
from api.request import SteeringRequest
from api.states import states_of
from featurehub.errors import AmbiguousFeature, ArtifactNotFound, FeatureNotFound, FeatureRetired, InvalidEdit, NotFound
from featurehub.features import Feature
from featurehub.groups import FeatureGroup
from featurehub.records import ResolvedGroup
from featurehub.store import Reader

__all__ = ["ResolvedFeature", "ResolvedNames", "refuse_repeated", "resolve", "resolve_sae"]


class ResolvedFeature(NamedTuple):
    """What a name in a request means, or a member of what it means.

    Attributes:
        feature: The feature, with its state on the loaded model.
        report: Id of the drift report that set the state; None where none did.
        param: The key of the body in which the name stands.
        called: What messages call the feature.
    """

    feature: Feature
    report: str | None
    param: str
    called: str


class ResolvedNames(NamedTuple):
    """What the names of a request mean.

    Attributes:
        features: By name; those of groups by their ids.
        groups: By name.
    """

    features: Mapping[str, ResolvedFeature]
    groups: Mapping[str, FeatureGroup]


def resolve(asked: SteeringRequest, reader: Reader, served: ServedModel) -> ResolvedNames:
    """What every name means. Raises FeatureNotFound, FeatureRetired, AmbiguousFeature and ArtifactNotFound."""
    params = asked.keys
    try:
        named = reader.resolve_named(params, served.scope)
    except (NotFound, AmbiguousFeature) as error:
        name = error.param or ""
        error.param = params.get(name, name or None)
        retired = isinstance(error, FeatureRetired)
        if asked.variant is not None and name in asked.variant.names and not retired:
            raise FeatureNotFound(f"{asked.called(name)} is not registered any more", param=error.param) from error
        raise
    found: dict[str, tuple[Feature, str, str]] = {}
    for name, each in named.items():
        if isinstance(each, ResolvedGroup):
            found |= {
                one.id: (one, params[name], f"{one.label or one.id!r} of the group {name!r}") for one in each.features
            }
    found |= {
        name: (each, params[name], asked.called(name)) for name, each in named.items() if isinstance(each, Feature)
    }
    states = states_of(reader, (feature for feature, _, _ in found.values()), served)
    features = {
        name: ResolvedFeature(_in_state(feature, states), states[feature.id][1], param, called)
        for name, (feature, param, called) in found.items()
    }
    return ResolvedNames(
        features, {name: each.group for name, each in named.items() if isinstance(each, ResolvedGroup)}
    )


def _in_state(feature: Feature, states: Mapping[str, tuple[object, object]]) -> Feature:
    return feature.model_copy(update={"state": states[feature.id][0]})


def refuse_repeated(edits: Iterable[str], features: Mapping[str, ResolvedFeature]) -> None:
    """Raises InvalidEdit where two edits are of one feature."""
    taken: dict[str, ResolvedFeature] = {}
    for name in edits:
        found = features[name]
        id = found.feature.id
        if id in taken:
            raise InvalidEdit(
                f"{found.called} and {taken[id].called} are the same feature ({id}); send it once", param=found.param
            )
        taken[id] = found


def resolve_sae(name: str, param: str, reader: Reader, served: ServedModel) -> str:
    """The id of the served SAE that a name means.

    Args:
        name: Its id, name or alias, or an unambiguous beginning of one.
        param: The key of the body in which the name stands.
        reader: Knows the registered SAEs.
        served: Which of them are served.

    Raises:
        ArtifactNotFound: No registered SAE has this name, or this server does not steer with it.
    """
    try:
        found = reader.artifact(name)
    except ArtifactNotFound as error:
        error.param = param
        raise
    if found.id not in served.saes:
        names = ", ".join(repr(reader.artifact(each).name) for each in served.saes)
        raise ArtifactNotFound(f"the SAE {name!r} is not served here; this server has {names}", param=param)
    return found.id
