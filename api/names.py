"""What the names of a request mean: features of the served SAEs, each with its state on the loaded model."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from api.model import ServedModel
from api.request import SteeringRequest
from api.states import states_of
from featurehub.errors import AmbiguousFeature, ArtifactNotFound, InvalidEdit, NotFound
from featurehub.features import Feature
from featurehub.store import Reader

__all__ = ["ResolvedFeature", "refuse_repeated", "resolve", "resolve_sae"]


class ResolvedFeature(NamedTuple):
    """What a name in a request means.

    Attributes:
        feature: The feature, with its state on the loaded model.
        report: Id of the drift report that set the state; None where none did.
        param: The key of the body in which the name stands.
    """

    feature: Feature
    report: str | None
    param: str


def resolve(asked: SteeringRequest, reader: Reader, served: ServedModel) -> dict[str, ResolvedFeature]:
    """The feature of every name, with its state. Raises FeatureNotFound, AmbiguousFeature and ArtifactNotFound."""
    params = asked.keys
    try:
        features = reader.resolve_many(params, served.scope)
    except (NotFound, AmbiguousFeature) as error:
        error.param = params.get(error.param or "", error.param)
        raise
    states = states_of(reader, features.values(), served)
    found = {}
    for name, feature in features.items():
        state, report = states[feature.id]
        found[name] = ResolvedFeature(feature.model_copy(update={"state": state}), report, params[name])
    return found


def refuse_repeated(edits: Iterable[str], features: Mapping[str, ResolvedFeature]) -> None:
    """Raises InvalidEdit where two names of edits mean one feature."""
    taken: dict[str, str] = {}
    for name in edits:
        id = features[name].feature.id
        if id in taken:
            raise InvalidEdit(
                f"{name!r} and {taken[id]!r} are the same feature ({id}); send it once", param=f"features.{name}"
            )
        taken[id] = name


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
