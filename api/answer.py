"""The ``featurehub`` object of an answer, and its headers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from api.engine import SteeringEngine
from api.plan import Plan
from api.replacement import as_computed
from featurehub.activations import ActivationBlock
from featurehub.answers import (
    AbortedAnswer,
    AnsweringVariant,
    AnswerReport,
    Applied,
    ChoiceReport,
    FeatureActivation,
    Notice,
    SaeReport,
    ServedSae,
    TokenActivations,
)
from featurehub.features import AppliedEdit, Feature
from featurehub.report import HookCounts, SteerReport
from featurehub.store import Reader

__all__ = [
    "Labels",
    "choices_ended",
    "features_at",
    "headers",
    "labels_of",
    "make_answer",
    "named",
    "token_activations",
    "wire_of",
]

Labels = Mapping[tuple[str, int], tuple[str, str]]
"""Feature id and label by (id of the SAE, latent)."""


def make_answer(plan: Plan, reports: Sequence[SteerReport], labels: Labels, engine: SteeringEngine) -> AnswerReport:
    """Combines the plan of a request with what the engine reported about it.

    Args:
        plan: What was sent to the engine.
        reports: What the engine counted, of each answer.
        labels: Feature id and label of the latents in the reports' activations; the others go by their index.
        engine: Decodes the tokens whose activations are returned.

    Raises:
        StaleFeature: The weights were replaced meanwhile, and what was not checked is refused.
    """
    report, several = reduce(add, reports), len(reports) > 1
    told = report.model_copy(update={"activations": None}) if several else report
    choices = enumerate(reports if several else ())
    answer = AnswerReport(
        **dict(applied_to(plan, told, labels, engine)),
        warnings=plan.notices + nothing_steered(plan, report),
        variant=answering(plan),
        choices=tuple(ChoiceReport(index=at, **dict(applied_to(plan, each, labels, engine))) for at, each in choices),
    )
    return as_computed(answer, plan, reports)


def wire_of(report: AnswerReport) -> dict[str, Any]:
    """The report as a dictionary of JSON types, in which ``choices`` is left out where there is one answer."""
    told = wired(report, "choices")
    return told | ({"choices": [wired(each) for each in report.choices]} if report.choices else {})


def wired(applied: Applied, *without: str) -> dict[str, Any]:
    """The same of a part. Activations are JSON types already, and too many to be looked at one by one."""
    told = applied.model_dump(mode="json", exclude={"activations", *without})
    return told | {"activations": applied.activations}


def choices_ended(report: AnswerReport) -> frozenset[int]:
    """The choices that an abort ended."""
    return frozenset(index for index, each in enumerate(report.choices or (report,)) if each.aborted is not None)


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
