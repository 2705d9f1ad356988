"""From the names of a request to what the engine runs.

1. Every name is resolved to a feature of the loaded SAE.
2. A stale feature is refused, or warned of; one that was not checked is warned of.
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

from api.asked import XARGS_KEY, Asked
from api.served import Served
from api.states import artifact_state, feature_state, with_states
from featurehub.conditions import FeatureAbort, FeatureCondition, FeatureWhen
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.errors import AmbiguousFeature, FeatureNotFound, InvalidEdit, StaleFeature
from featurehub.features import AppliedEdit, Edit, Feature, Mode, OnStale, State
from featurehub.settings import Frozen, Limits
from featurehub.store import Reader

__all__ = ["Notice", "Plan", "make_plan"]

FEATURES_TRIED = 20


class Notice(Frozen):
    """Something that the client should know; the request was answered all the same."""

    code: str
    message: str
    feature: str | None = None


@dataclass(frozen=True)
class Plan:
    """One request's steering, and what the answer will say of it.

    applied:  in the order of the request, with dose 0 until the engine has reported
    watching: the features that each abort's event watches
    """

    served: Served
    steering: Steering
    applied: tuple[AppliedEdit, ...]
    notices: tuple[Notice, ...]
    watching: Mapping[str, str]

    @property
    def reaches_engine(self) -> bool:
        return not self.steering.is_nothing

    @property
    def xargs(self) -> dict[str, str]:
        """What vLLM's request carries to the worker."""
        return {XARGS_KEY: self.steering.to_json()}


def make_plan(asked: Asked, reader: Reader, served: Served, limits: Limits) -> Plan:
    """Raises FeatureNotFound, AmbiguousFeature, StaleFeature and InvalidEdit, each naming the key at fault."""
    features = resolve(asked.edits, reader, served)
    watched = {each.feature: feature_called(each.feature, reader, served) for each in asked.conditions}
    on_stale = asked.steer.on_stale or served.on_stale
    notices = [judge(name, feature, on_stale, reader, served) for name, feature in (watched | features).items()]
    if asked.top_k:
        notices.append(judge_reading(reader, served))
    edits = {name: latent_edit(name, edit, features[name], watched) for name, edit in asked.edits.items()}
    return Plan(
        served=served,
        steering=Steering(
            edits=tuple(edit for edit in edits.values() if moves(edit)),
            positions=asked.steer.positions,
            dose_max=limits.dose_max,
            aborts=tuple(raw_abort(abort, watched) for abort in asked.aborts),
            report=uuid.uuid4().hex,
            reads=(Read(sae=served.sae, top_k=asked.top_k),) if asked.top_k else (),
        ),
        applied=tuple(applied(features[name], asked.edits[name], edits[name]) for name in edits),
        notices=tuple(notice for notice in notices if notice is not None),
        watching={abort.name: ", ".join(each.feature for each in abort.when) for abort in asked.aborts},
    )


def resolve(edits: Iterable[str], reader: Reader, served: Served) -> dict[str, Feature]:
    """The feature of every name with its state, all of the loaded SAE and no two the same."""
    found: dict[str, Feature] = {}
    taken: dict[str, str] = {}
    for name in edits:
        found[name] = feature = feature_called(name, reader, served)
        if feature.id in taken:
            raise InvalidEdit(
                f"{name!r} and {taken[feature.id]!r} are the same feature ({feature.id}); send it once",
                param=f"features.{name}",
            )
        taken[feature.id] = name
    return found


def feature_called(name: str, reader: Reader, served: Served) -> Feature:
    """Raises FeatureNotFound, AmbiguousFeature."""
    try:
        feature = reader.resolve(name, served.sae)
    except (FeatureNotFound, AmbiguousFeature) as error:
        error.param = f"features.{name}"
        raise
    state, _ = feature_state(reader, feature, served)
    return feature.model_copy(update={"state": state})


def judge(name: str, feature: Feature, on_stale: OnStale, reader: Reader, served: Served) -> Notice | None:
    """What to say of a feature's state; nothing of a fresh one. Raises StaleFeature."""
    if feature.state is State.FRESH:
        return None
    _, report = feature_state(reader, feature, served)
    if feature.state is State.STALE and on_stale is OnStale.REFUSE:
        raise refusal(name, feature, report, reader, served)
    found = f" (drift report {report})" if report else ""
    message = f"{name!r} {saying(feature.state, served)}{found}"
    return Notice(code=f"feature_{feature.state}", message=message, feature=feature.id)


def judge_reading(reader: Reader, served: Served) -> Notice | None:
    """What to say of activations that are read with the loaded SAE; nothing where it is fresh."""
    state = artifact_state(reader, served.sae, served)
    if state is State.FRESH:
        return None
    return Notice(code=f"sae_{state}", message=f"the SAE that reads the activations {saying(state, served)}")


def saying(state: State, served: Served) -> str:
    """Of a feature or an SAE that is not fresh."""
    match state:
        case State.SUSPECT:
            return "may no longer mean what it says on the loaded model"
        case State.STALE:
            return "no longer holds on the loaded model"
        case _:
            return unchecked(served)


def unchecked(served: Served) -> str:
    """Why nobody can say whether a feature holds."""
    if served.overrides:
        return f"was not checked with {', '.join(served.overrides)}"
    return "was not checked on the loaded model; run `featurehub drift check`"


def refusal(name: str, feature: Feature, report: str | None, reader: Reader, served: Served) -> StaleFeature:
    page = reader.search(feature.label[: Limits().name_chars], feature.artifact, FEATURES_TRIED)
    fresh = (each.label for each in with_states(reader, page.features, served) if each.state is State.FRESH)
    closest = next(fresh, None)
    instead = f" The closest fresh feature is {closest!r}." if closest else ""
    return StaleFeature(
        f"{name!r} no longer holds on the loaded model (drift report {report}).{instead} "
        'Send "steer": {"on_stale": "warn"} to use it all the same.',
        param=f"features.{name}",
        report=report,
        closest=closest,
    )


def latent_edit(name: str, edit: Edit, feature: Feature, watched: Mapping[str, Feature]) -> LatentEdit:
    """The edit on the raw scale. Raises InvalidEdit for a feature whose strength nobody has measured."""
    return LatentEdit(
        sae=feature.artifact,
        latent=feature.latent,
        mode=edit.mode,
        value=value(name, edit, feature),
        when=raw_when(edit.when, watched) if edit.when is not None else None,
    )


def raw_abort(abort: FeatureAbort, watched: Mapping[str, Feature]) -> Abort:
    return Abort(event=abort.name, when=raw_when(abort.when, watched), positions=abort.positions)


def raw_when(when: FeatureWhen, watched: Mapping[str, Feature]) -> When:
    return When(conditions=tuple(raw_condition(each, watched[each.feature]) for each in when), any=bool(when.any))


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
                    f"{name!r} was never calibrated, so no weight is defined for it. Calibrate it with "
                    f'`featurehub calibrate`, or send {{"mode": "pin", "weight": {weight}}}.',
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
