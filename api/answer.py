"""The ``featurehub`` object of an answer, and its headers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from pydantic import SkipValidation
from typing_extensions import TypedDict

from api.engine import SteeringEngine
from api.notice import Notice
from api.plan import Plan
from api.states import ServedSae
from featurehub.activations import ActivationBlock
from featurehub.features import AppliedEdit, Feature
from featurehub.report import HookCounts, SteerReport
from featurehub.settings import Frozen
from featurehub.store import Reader

__all__ = [
    "Answer",
    "Labels",
    "TokenActivations",
    "features_at",
    "headers",
    "labels_of",
    "make_answer",
    "named",
    "token_activations",
]

Labels = Mapping[tuple[str, int], tuple[str, str]]
"""Feature id and label by (id of the SAE, latent)."""


class FeatureActivation(TypedDict):
    """One active feature of one token.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        activation: Its raw activation; 0 where the request named a feature that is not active here.
    """

    id: str
    label: str
    activation: float


class TokenActivations(TypedDict):
    """One computed token's features in one SAE. A dictionary, since there may be millions of them.

    Attributes:
        position: Index of the token in the request, counted from the first token of the prompt.
        token: The text that it adds to the tokens before it.
        sae: Id of the SAE.
        features: Its active features, strongest first, at most ``top_k``; then the others that the request named.
    """

    position: int
    token: str
    sae: str
    features: list[FeatureActivation]


class AbortedAnswer(Frozen):
    """The event that ended an answer early.

    Attributes:
        event: The name that the request gave to the abort; by default the names of its features.
        feature: The features that the abort watched, as the request named them, joined by ", ".
        position: Index of the token that caused the event, counted from the first token of the prompt.
    """

    event: str
    feature: str
    position: int


class SaeReport(ServedSae):
    """An SAE that a request used, and what the engine counted at its hook point.

    SAEs that share a hook point share the counts: their edits are one change of the stream.

    Attributes:
        steered_tokens: Tokens with at least one edit in force there.
        dose: Mean of ‖Δ‖/‖h‖ over these tokens, where Δ is the change made by all edits there together.
        clipped_tokens: Tokens whose Δ the dose guard scaled down.
    """

    steered_tokens: int
    dose: float
    clipped_tokens: int


class AnsweringVariant(Frozen):
    """The stored variant that answered.

    Attributes:
        name: Its name.
        version: Its version.
    """

    name: str
    version: int


class Applied(Frozen):
    """What was applied to one answer, or to several together.

    Attributes:
        applied: The request's edits in its order, each with what the engine counted at its hook point.
        saes: The SAEs that the request used, in the order in which the server holds them.
        steered_tokens: Tokens with at least one edit in force, at the hook point that has most of them.
        activations: One entry per token and SAE; None where the request did not ask for activations.
        aborted: The abort that ended the answer; None where none did.
    """

    applied: tuple[AppliedEdit, ...]
    saes: tuple[SaeReport, ...]
    steered_tokens: int
    activations: SkipValidation[list[TokenActivations] | None]
    aborted: AbortedAnswer | None = None

    def to_wire(self) -> dict[str, Any]:
        """The same as a dictionary of JSON types."""
        return self.model_dump(mode="json", exclude={"activations"}) | {"activations": self.activations}


class ChoiceAnswer(Applied):
    """What was applied to one of several answers.

    Attributes:
        index: Its place in the answer's own ``choices``.
    """

    index: int


class Answer(Applied):
    """What was applied to a request. Of several answers: to all of them together, and to each.

    Counts are then over all answers. ``aborted`` is that of the first answer that an abort ended, and ``activations``
    is None, since positions are those of one answer.

    Attributes:
        warnings: What the client should know although the request was answered.
        variant: The stored variant that answered; None where the request named none.
        choices: What was applied to each, in their order; empty where there is one.
    """

    warnings: tuple[Notice, ...]
    variant: AnsweringVariant | None = None
    choices: tuple[ChoiceAnswer, ...] = ()

    @property
    def ended(self) -> frozenset[int]:
        """The choices that an abort ended."""
        return frozenset(index for index, each in enumerate(self.choices or (self,)) if each.aborted is not None)

    def to_wire(self) -> dict[str, Any]:
        """The answer as a dictionary of JSON types, in which ``choices`` is left out where there is one."""
        told = self.model_dump(mode="json", exclude={"activations", "choices"}) | {"activations": self.activations}
        return told | ({"choices": [each.to_wire() for each in self.choices]} if self.choices else {})


def make_answer(plan: Plan, reports: Sequence[SteerReport], labels: Labels, engine: SteeringEngine) -> Answer:
    """Combines the plan of a request with what the engine reported about it.

    Args:
        plan: What was sent to the engine.
        reports: What the engine counted, of each answer.
        labels: Feature id and label of the latents in the reports' activations; the others go by their index.
        engine: Decodes the tokens whose activations are returned.
    """
    report, several = reduce(add, reports), len(reports) > 1
    told = report.model_copy(update={"activations": None}) if several else report
    choices = enumerate(reports if several else ())
    return Answer(
        **dict(applied_to(plan, told, labels, engine)),
        warnings=plan.notices + nothing_steered(plan, report),
        variant=answering(plan),
        choices=tuple(ChoiceAnswer(index=at, **dict(applied_to(plan, each, labels, engine))) for at, each in choices),
    )


def applied_to(plan: Plan, report: SteerReport, labels: Labels, engine: SteeringEngine) -> Applied:
    """What was applied where the report is from."""
    sent = {(edit.sae, edit.latent): i for i, edit in enumerate(plan.steering.edits)}
    hooks, none = plan.hooks, HookCounts()

    def counts_of(sae: str) -> HookCounts:
        return report.hooks.get(hooks[sae], none)

    return Applied(
        applied=tuple(dosed(edit, sent.get((edit.sae, edit.latent)), counts_of(edit.sae)) for edit in plan.applied),
        saes=tuple(reported(each, counts_of(each.id)) for each in plan.saes),
        steered_tokens=report.steered_tokens,
        activations=activations(plan, report, labels, engine),
        aborted=aborted(plan, report),
    )


def reported(sae: ServedSae, counts: HookCounts) -> SaeReport:
    return SaeReport(
        **sae.model_dump(),
        steered_tokens=counts.steered_tokens,
        dose=counts.dose_mean,
        clipped_tokens=counts.clipped,
    )


def dosed(edit: AppliedEdit, index: int | None, counts: HookCounts) -> AppliedEdit:
    """The edit with what the engine counted.

    Args:
        edit: An edit of the plan.
        index: Its index among the edits that were sent; None for an edit that changes nothing and so was not sent.
        counts: What the engine counted at its hook point.
    """
    if index is None:
        return edit
    counted = {"dose": counts.dose_mean, "clipped": counts.clipped > 0, "tokens": counts.tokens_in_force(index)}
    return edit.model_copy(update=counted)


def aborted(plan: Plan, report: SteerReport) -> AbortedAnswer | None:
    if report.aborted is None:
        return None
    found = report.aborted
    return AbortedAnswer(event=found.event, feature=plan.watching[found.index], position=found.position)


def answering(plan: Plan) -> AnsweringVariant | None:
    return plan.variant and AnsweringVariant(name=plan.variant.name, version=plan.variant.version)


def nothing_steered(plan: Plan, report: SteerReport) -> tuple[Notice, ...]:
    if not plan.steering.edits or report.steered_tokens:
        return ()
    positions = plan.steering.positions
    return (Notice(code="nothing_steered", message=f"the answer has no token at the asked positions ({positions})"),)


def activations(
    plan: Plan, report: SteerReport, labels: Labels, engine: SteeringEngine
) -> list[TokenActivations] | None:
    if not plan.steering.reads or report.activations is None:
        return None
    return [token for block in report.activations.blocks for token in token_activations(block, labels, engine)]


def token_activations(block: ActivationBlock, labels: Labels, engine: SteeringEngine) -> Iterator[TokenActivations]:
    """The activations of a block, token by token. A latent without a label is named by its index in the SAE."""
    known = {latent: named(block.sae, latent, labels) for latent in block.distinct()}
    texts = engine.pieces(block.tokens())
    for text, (position, _, latents, strengths) in zip(texts, block.rows(), strict=True):
        features: list[FeatureActivation] = [
            {"id": known[latent][0], "label": known[latent][1], "activation": strength}
            for latent, strength in dict(zip(latents, strengths, strict=True)).items()
        ]
        yield {"position": position, "token": text, "sae": block.sae, "features": features}


def named(sae: str, latent: int, labels: Labels) -> tuple[str, str]:
    """The id and label of a latent's feature; one without a label goes by its index."""
    return labels.get((sae, latent), (f"sae:{sae}/{latent}", ""))


def labels_of(latents: Iterable[tuple[str, int]], reader: Reader) -> Labels:
    """Those of the latents, each with its SAE, that have a feature."""
    return {place: (each.id, each.label) for place, each in features_at(latents, reader).items()}


def features_at(latents: Iterable[tuple[str, int]], reader: Reader) -> dict[tuple[str, int], Feature]:
    """The features of those latents, each with its SAE, that have one."""
    by_sae: dict[str, set[int]] = {}
    for sae, latent in latents:
        by_sae.setdefault(sae, set()).add(latent)
    found = ((sae, each) for sae, own in by_sae.items() for each in reader.latents(sae, own))
    return {(sae, each.latent): each for sae, each in found}


def headers(plan: Plan) -> dict[str, str]:
    """The response headers whose values are known before the first token: the SAEs, the applied edits, the
    warnings and the variant.

    A header whose value is empty or not ASCII is left out.
    """
    known: dict[str, Any] = {
        "sae": ",".join(plan.served.saes),
        "applied": ",".join(edit.id for edit in plan.applied),
        "warnings": ",".join(notice.code for notice in plan.notices),
        "variant": f"{plan.variant.name}@{plan.variant.version}" if plan.variant else "",
    }
    return {f"x-featurehub-{name}": text for name, text in known.items() if text and text.isascii()}
