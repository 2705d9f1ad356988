"""From the names of a request to what the engine runs.

1. Every name is resolved to a feature of the loaded SAEs, all at once.
2. A stale feature is refused, or warned of; one that was not checked is warned of, and so is one that is nudged
   without ever having been calibrated.
3. A weight on the calibrated scale becomes the raw number of its mode, and a condition's value an activation:
       nudge   weight · strength          pin   weight · max_activation
       mul     1 + weight                 ablate   0
       condition   value · max_activation
4. An edit that changes nothing (nudge or mul of weight 0) is reported but not sent, so that the answer and its cache
   are those of an unsteered request.
The engine itself separates the KV blocks of requests by what they ask for (``featurehub.engine.admission``).
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from api.model import ServedModel
from api.notice import Notice, never_calibrated
from api.request import XARGS_KEY, SteeringRequest
from api.states import artifact_states, states_of, with_states
from featurehub.conditions import FeatureAbort, FeatureCondition, FeatureWhen
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.errors import AmbiguousFeature, InvalidEdit, NotFound, StaleFeature
from featurehub.features import AppliedEdit, Edit, Feature, Mode, OnStale, State
from featurehub.settings import Limits
from featurehub.store import Reader

__all__ = ["Plan", "make_plan"]

FEATURES_TRIED = 20


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


@dataclass(frozen=True)
class Plan:
    """One request's steering, and what the answer will say about it.

    Attributes:
        served: What answers the request.
        steering: What the engine is to do.
        applied: The edits in the order of the request, with dose 0 until the engine has reported.
        notices: What the answer warns of.
        watching: The names of the features that each abort watches, in the order of the request.
    """

    served: ServedModel
    steering: Steering
    applied: tuple[AppliedEdit, ...]
    notices: tuple[Notice, ...]
    watching: tuple[str, ...]

    @property
    def reaches_engine(self) -> bool:
        """Whether anything is asked of the engine."""
        return not self.steering.is_nothing

    @property
    def xargs(self) -> dict[str, str]:
        """What vLLM's request carries to the worker."""
        return {XARGS_KEY: self.steering.to_request()}


def make_plan(asked: SteeringRequest, reader: Reader, served: ServedModel, limits: Limits) -> Plan:
    """Turns the names and weights of a request into what the engine runs.

    Args:
        asked: The request.
        reader: Resolves names and states.
        served: What answers the request.
        limits: ``dose_max`` bounds the dose at each token.

    Raises:
        FeatureNotFound: A name means no feature of the loaded SAEs.
        AmbiguousFeature: A name means several of them.
        ArtifactNotFound: A name refers to an SAE that is not registered.
        StaleFeature: A feature is stale and the request or the server refuses those.
        InvalidEdit: Two names mean one feature, or a feature cannot be steered as asked.
    """
    features = resolve(asked, reader, served)
    refuse_repeated(asked.edits, features)
    on_stale = asked.steer.on_stale or served.on_stale
    notices = judge(features, on_stale, reader, served)
    notices += tuple(never_calibrated(name, edit, features[name].feature) for name, edit in guessed(asked, features))
    if asked.top_k:
        notices += judge_readings(reader, served)
    edits = {name: latent_edit(name, edit, features[name].feature, features) for name, edit in asked.edits.items()}
    return Plan(
        served=served,
        steering=Steering(
            edits=tuple(edit for edit in edits.values() if moves(edit)),
            positions=asked.steer.positions,
            dose_max=limits.dose_max,
            aborts=tuple(raw_abort(abort, features) for abort in asked.aborts),
            report=uuid.uuid4().hex,
            reads=tuple(Read(sae=sae, top_k=asked.top_k) for sae in served.saes) if asked.top_k else (),
        ),
        applied=tuple(applied(features[name].feature, asked.edits[name], edits[name]) for name in edits),
        notices=notices,
        watching=tuple(", ".join(each.feature for each in abort.when) for abort in asked.aborts),
    )


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


def judge(
    features: Mapping[str, ResolvedFeature], on_stale: OnStale, reader: Reader, served: ServedModel
) -> tuple[Notice, ...]:
    """Warnings about all features that are not fresh. Raises StaleFeature."""
    for name, found in features.items():
        if found.feature.state is State.STALE and on_stale is OnStale.REFUSE:
            raise refusal(name, found, reader, served)
    flagged = ((name, found) for name, found in features.items() if found.feature.state is not State.FRESH)
    return tuple(notice(name, found, served) for name, found in flagged)


def notice(name: str, found: ResolvedFeature, served: ServedModel) -> Notice:
    feature, report = found.feature, f" (drift report {found.report})" if found.report else ""
    message = f"{name!r} {saying(feature.state, served)}{report}"
    return Notice(code=f"feature_{feature.state}", message=message, feature=feature.id)


def guessed(asked: SteeringRequest, features: Mapping[str, ResolvedFeature]) -> list[tuple[str, Edit]]:
    """The edits whose weight is one of a strength that was never tried."""
    nudges = [(name, edit) for name, edit in asked.edits.items() if edit.mode is Mode.NUDGE and edit.weight]
    return [(name, edit) for name, edit in nudges if features[name].feature.never_steered]


def judge_readings(reader: Reader, served: ServedModel) -> tuple[Notice, ...]:
    """Warnings about the loaded SAEs that are not fresh, where activations are read with them."""
    states = artifact_states(reader, served.saes, served)
    message = "the SAE that reads the activations"
    return tuple(
        Notice(code=f"sae_{state}", message=f"{message} {saying(state, served)}")
        for state in dict.fromkeys(states.values())
        if state is not State.FRESH
    )


def saying(state: State, served: ServedModel) -> str:
    """What a message says about a feature or an SAE that is not fresh."""
    match state:
        case State.SUSPECT:
            return "may no longer mean what it says on the loaded model"
        case State.STALE:
            return "no longer holds on the loaded model"
        case _:
            return unchecked(served)


def unchecked(served: ServedModel) -> str:
    """Why it is not known whether a feature holds."""
    if served.overrides:
        return f"was not checked with {', '.join(served.overrides)}"
    return "was not checked on the loaded model; run `featurehub drift check`"


def refusal(name: str, found: ResolvedFeature, reader: Reader, served: ServedModel) -> StaleFeature:
    label = found.feature.label[: Limits().name_chars]
    page = reader.search(label, reader.scope(found.feature.artifact), FEATURES_TRIED)
    fresh = (each.label for each in with_states(reader, page.features, served) if each.state is State.FRESH)
    closest = next(fresh, None)
    instead = f" The closest fresh feature is {closest!r}." if closest else ""
    return StaleFeature(
        f"{name!r} no longer holds on the loaded model (drift report {found.report}).{instead} "
        'Send "steer": {"on_stale": "warn"} to use it all the same.',
        param=found.param,
        report=found.report,
        closest=closest,
    )


def latent_edit(name: str, edit: Edit, feature: Feature, watched: Mapping[str, ResolvedFeature]) -> LatentEdit:
    """The edit on the raw scale. Raises InvalidEdit for a feature that cannot write or was never calibrated."""
    return LatentEdit(
        sae=feature.artifact,
        latent=feature.latent,
        mode=edit.mode,
        value=value(name, edit, feature),
        when=raw_when(edit.when, watched) if edit.when is not None else None,
    )


def raw_abort(abort: FeatureAbort, watched: Mapping[str, ResolvedFeature]) -> Abort:
    return Abort(event=abort.name, when=raw_when(abort.when, watched), positions=abort.positions)


def raw_when(when: FeatureWhen, watched: Mapping[str, ResolvedFeature]) -> When:
    return When(
        conditions=tuple(raw_condition(each, watched[each.feature].feature) for each in when), any=bool(when.any)
    )


def raw_condition(condition: FeatureCondition, feature: Feature) -> Condition:
    return Condition(
        sae=feature.artifact,
        latent=feature.latent,
        op=condition.op,
        value=condition.value * feature.max_activation,
        so_far=condition.so_far,
    )


def value(name: str, edit: Edit, feature: Feature) -> float:
    weight = edit.weight or 0.0
    if not feature.writes:
        raise InvalidEdit(
            f"{name!r} cannot steer: its decoder row is zero, so it reads the stream and never writes. Watch it in a "
            "condition, or name another feature.",
            param=f"features.{name}",
        )
    match edit.mode:
        case Mode.ABLATE:
            return 0.0
        case Mode.MUL:
            return 1.0 + weight
        case Mode.PIN:
            return weight * feature.max_activation
        case Mode.NUDGE:
            if feature.strength is None and weight:
                raise InvalidEdit(
                    f"{name!r} was never calibrated, so no weight is defined for it. Label it with "
                    f'`featurehub label`, or send {{"mode": "pin", "weight": {weight}}}.',
                    param=f"features.{name}",
                )
            return weight * (feature.strength or 0.0)


def moves(edit: LatentEdit) -> bool:
    """Whether the edit can change the stream at all."""
    identity = {Mode.NUDGE: 0.0, Mode.MUL: 1.0}
    return edit.mode not in identity or edit.value != identity[edit.mode]


def applied(feature: Feature, edit: Edit, raw: LatentEdit) -> AppliedEdit:
    return AppliedEdit(
        id=feature.id,
        label=feature.label,
        label_version=feature.label_version,
        sae=feature.artifact,
        latent=feature.latent,
        mode=edit.mode,
        weight=edit.weight or 0.0,
        coefficient=raw.value,
        dose=0.0,
        clipped=False,
        state=feature.state,
    )
