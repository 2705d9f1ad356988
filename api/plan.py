"""From the names of a request to what the engine runs.

1. Every name is resolved to a feature or group of the served SAEs, all at once (``api.names``), and groups give way to
   their members (``api.members``).
2. A stale feature is refused, or warned of, and so on (``api.notice``).
3. A weight on the calibrated scale becomes the raw number of its mode, and a condition's value an activation:
       nudge   weight · strength          pin   weight · max_activation
       mul     1 + weight                 ablate   0
       condition   value · max_activation
4. An edit that changes nothing (nudge or mul of weight 0) is reported but not sent, so that the answer and its cache
   are those of an unsteered request.
The engine itself separates the KV blocks of requests by what they ask for (``featurehub.engine.admission``).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from api.members import groups_by_member, with_members
from api.model import ServedModel
from api.names import ResolvedFeature, refuse_repeated, resolve, resolve_sae
from api.notice import judge, judge_edits, judge_readings
from api.request import XARGS_KEY, SteeringRequest, UsedVariant
from api.states import served_saes
from featurehub.answers import Notice, ServedSae
from featurehub.conditions import FeatureAbort, FeatureCondition, FeatureWhen
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.errors import InvalidEdit
from featurehub.features import AppliedEdit, Edit, Feature, Mode, OnStale, State
from featurehub.settings import Limits
from featurehub.store import Reader

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """One request's steering, and what the answer will say about it.

    Attributes:
        served: What answers the request.
        steering: What the engine is to do.
        applied: The edits in the order of the request, with dose 0 until the engine has reported.
        notices: What the answer warns of.
        watching: The names of the features that each abort watches, in the order of the request.
        saes: The SAEs of its edits, conditions and readings, in the order in which the server holds them.
        variant: The stored variant that is used; None where the request names none.
        on_stale: What the request says of features that are not fresh; None leaves it to the server.
    """

    served: ServedModel
    steering: Steering
    applied: tuple[AppliedEdit, ...]
    notices: tuple[Notice, ...]
    watching: tuple[str, ...]
    saes: tuple[ServedSae, ...]
    variant: UsedVariant | None = None
    on_stale: OnStale | None = None

    def refuses(self, state: State) -> bool:
        """Whether a feature in this state is refused."""
        return self.served.refuses(state, self.on_stale)

    @property
    def hooks(self) -> dict[str, str]:
        """The hook points of these SAEs, by their ids."""
        return {each.id: each.hook for each in self.saes}

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
        FeatureNotFound: A name means no feature of the served SAEs, or a group with a member that is not among these.
        FeatureRetired: It meant one before the SAE was refreshed for this model, and none means it any more.
        AmbiguousFeature: A name means several of them.
        ArtifactNotFound: A name refers to an SAE that is not registered, or activations of one that is not served.
        StaleFeature: A feature is stale and the request or the server refuses those.
        InvalidEdit: Two names mean one feature, a feature cannot be steered as asked, or groups have too many members.
        InvalidInput: A condition names a group, or too many activations are to be returned.
    """
    features, groups = resolve(asked, reader, served)
    through = (asked.variant.groups if asked.variant else {}) | groups_by_member(asked.edits, groups)
    asked = with_members(asked, groups, limits)
    refuse_repeated(asked.edits, features)
    notices = judge(features, asked.steer.on_stale, reader, served) + judge_edits(asked.edits, features)
    reads = raw_reads(asked, features, reader, served)
    reading = {each.sae for each in reads}
    saes = served_saes(reader, served, reading | {each.feature.artifact for each in features.values()})
    edits = {name: latent_edit(edit, features[name], features) for name, edit in asked.edits.items()}
    return Plan(
        served=served,
        steering=Steering(
            edits=tuple(edit for edit in edits.values() if moves(edit)),
            positions=asked.steer.positions,
            dose_max=limits.dose_max,
            aborts=tuple(raw_abort(abort, features) for abort in asked.aborts),
            report=uuid.uuid4().hex,
            reads=reads,
        ),
        applied=tuple(
            applied(features[name].feature, asked.edits[name], edits[name], through.get(name)) for name in edits
        ),
        notices=notices + judge_readings((each for each in saes if each.id in reading), served),
        watching=tuple(watching(abort, asked.variant) for abort in asked.aborts),
        saes=saes,
        variant=asked.variant,
        on_stale=asked.steer.on_stale,
    )


def watching(abort: FeatureAbort, variant: UsedVariant | None) -> str:
    """The names of the features that an abort watches."""
    names = variant.names if variant else {}
    return ", ".join(names.get(each.feature, each.feature) for each in abort.when)


def raw_reads(
    asked: SteeringRequest, features: Mapping[str, ResolvedFeature], reader: Reader, served: ServedModel
) -> tuple[Read, ...]:
    """What the engine reads, an entry for each SAE that is read. Raises ArtifactNotFound for one that is not served."""
    if asked.reads is None:
        return ()
    top_k, chosen = asked.reads.top_k, asked.reads.sae
    whole = served.saes if chosen is None else (resolve_sae(chosen, "return_activations.sae", reader, served),)
    latents: dict[str, set[int]] = {}
    for feature in (features[name].feature for name in asked.reads.features):
        latents.setdefault(feature.artifact, set()).add(feature.latent)
    reads = (
        Read(sae=sae, top_k=top_k if sae in whole else 0, latents=tuple(sorted(latents.get(sae, ()))))
        for sae in served.saes
    )
    return tuple(read for read in reads if read.top_k or read.latents)


def latent_edit(edit: Edit, found: ResolvedFeature, watched: Mapping[str, ResolvedFeature]) -> LatentEdit:
    """The edit on the raw scale. Raises InvalidEdit for a feature that cannot write or was never calibrated."""
    return LatentEdit(
        sae=found.feature.artifact,
        latent=found.feature.latent,
        mode=edit.mode,
        value=value(edit, found),
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


def value(edit: Edit, found: ResolvedFeature) -> float:
    weight, feature = edit.weight or 0.0, found.feature
    if not feature.writes:
        raise InvalidEdit(
            f"{found.called} cannot steer: its decoder row is zero, so it reads the stream and never writes. Watch it "
            "in a condition, or name another feature.",
            param=found.param,
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
                    f"{found.called} was never calibrated, so no weight is defined for it. Label it with "
                    f'`featurehub label`, or send {{"mode": "pin", "weight": {weight}}}.',
                    param=found.param,
                )
            return weight * (feature.strength or 0.0)


def moves(edit: LatentEdit) -> bool:
    """Whether the edit can change the stream at all."""
    identity = {Mode.NUDGE: 0.0, Mode.MUL: 1.0}
    return edit.mode not in identity or edit.value != identity[edit.mode]


def applied(feature: Feature, edit: Edit, raw: LatentEdit, group: str | None) -> AppliedEdit:
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
        group=group,
    )
