"""The ``featurehub`` object of an answer, and its headers."""

from collections.abc import Mapping
from typing import Any

from api.engine import Engine
from api.plan import Notice, Plan
from featurehub.features import AppliedEdit
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["Answer", "Labels", "headers", "make_answer"]

# (SAE, latent) -> (feature id, label)
Labels = Mapping[tuple[str, int], tuple[str, str]]


class FeatureActivation(Frozen):
    id: str
    label: str
    activation: float


class TokenActivations(Frozen):
    """One computed token's strongest features, strongest first."""

    position: int
    token: str
    features: tuple[FeatureActivation, ...]


class AbortedAnswer(Frozen):
    """position: of the token that caused the event;  feature: the names of the features that were watched"""

    event: str
    feature: str
    position: int


class Answer(Frozen):
    """What was applied to a request.

    applied: ``dose`` is the mean of all edits together over the steered tokens; ``clipped`` says whether the dose
             guard scaled any token's edits down
    aborted: the abort that ended the answer, if one did
    """

    applied: tuple[AppliedEdit, ...]
    steered_tokens: int
    warnings: tuple[Notice, ...]
    activations: tuple[TokenActivations, ...] | None
    aborted: AbortedAnswer | None = None


def make_answer(plan: Plan, report: SteerReport, labels: Labels, engine: Engine) -> Answer:
    sent = {(edit.sae, edit.latent): i for i, edit in enumerate(plan.steering.edits)}
    return Answer(
        applied=tuple(dosed(edit, sent.get((edit.sae, edit.latent)), report) for edit in plan.applied),
        steered_tokens=report.steered_tokens,
        warnings=plan.notices + nothing_steered(plan, report),
        activations=activations(plan, report, labels, engine),
        aborted=aborted(plan, report),
    )


def dosed(edit: AppliedEdit, index: int | None, report: SteerReport) -> AppliedEdit:
    """With what the engine counted. index: among the edits sent; None for one that came to nothing, so was not."""
    if index is None:
        return edit
    counted = {"dose": report.dose_mean, "clipped": report.clipped > 0, "tokens": report.tokens_in_force(index)}
    return edit.model_copy(update=counted)


def aborted(plan: Plan, report: SteerReport) -> AbortedAnswer | None:
    if report.aborted is None:
        return None
    event, position = report.aborted.event, report.aborted.position
    return AbortedAnswer(event=event, feature=plan.watching.get(event, ""), position=position)


def nothing_steered(plan: Plan, report: SteerReport) -> tuple[Notice, ...]:
    if not plan.steering.edits or report.steered_tokens:
        return ()
    positions = plan.steering.positions
    return (Notice(code="nothing_steered", message=f"the answer has no token at the asked positions ({positions})"),)


def activations(plan: Plan, report: SteerReport, labels: Labels, engine: Engine) -> tuple[TokenActivations, ...] | None:
    if not plan.steering.reads:
        return None
    return tuple(
        TokenActivations(
            position=token.position,
            token=engine.token(token.token),
            features=tuple(
                activation(labels, token.sae, latent, strength)
                for latent, strength in zip(token.latents, token.activations, strict=True)
                if strength > 0.0
            ),
        )
        for token in report.activations or ()
    )


def activation(labels: Labels, sae: str, latent: int, strength: float) -> FeatureActivation:
    """A latent that nobody labelled goes by its place in its SAE."""
    found, label = labels.get((sae, latent), (f"sae:{sae}/{latent}", ""))
    return FeatureActivation(id=found, label=label, activation=strength)


def headers(plan: Plan) -> dict[str, str]:
    """What is known before the first token."""
    known: dict[str, Any] = {
        "sae": ",".join(plan.served.saes),
        "applied": ",".join(edit.id for edit in plan.applied),
        "warnings": ",".join(notice.code for notice in plan.notices),
    }
    return {f"x-featurehub-{name}": text for name, text in known.items() if text and text.isascii()}
