"""The ``featurehub`` object of an answer, and its headers."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SkipValidation
from typing_extensions import TypedDict

from api.engine import SteeringEngine
from api.plan import Notice, Plan
from featurehub.activations import ActivationBlock
from featurehub.features import AppliedEdit
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["Answer", "Labels", "headers", "make_answer"]

# (SAE, latent) -> (feature id, label)
Labels = Mapping[tuple[str, int], tuple[str, str]]


class FeatureActivation(TypedDict):
    id: str
    label: str
    activation: float


class TokenActivations(TypedDict):
    """One computed token's strongest features, strongest first. A dictionary, since there may be millions."""

    position: int
    token: str
    features: list[FeatureActivation]


class AbortedAnswer(Frozen):
    """position: of the token that caused the event;  feature: the names of the features that the abort watched"""

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
    activations: SkipValidation[list[TokenActivations] | None]
    aborted: AbortedAnswer | None = None

    def to_wire(self) -> dict[str, Any]:
        """JSON types."""
        return self.model_dump(mode="json", exclude={"activations"}) | {"activations": self.activations}


def make_answer(plan: Plan, report: SteerReport, labels: Labels, engine: SteeringEngine) -> Answer:
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
    found = report.aborted
    return AbortedAnswer(event=found.event, feature=plan.watching[found.index], position=found.position)


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
    """A latent that nobody labelled goes by its place in the SAE."""
    known = {latent: labels.get((block.sae, latent), (f"sae:{block.sae}/{latent}", "")) for latent in block.distinct()}
    texts = engine.pieces(block.tokens())
    for text, (position, _, latents, strengths) in zip(texts, block.rows(), strict=True):
        features: list[FeatureActivation] = [
            {"id": known[latent][0], "label": known[latent][1], "activation": strength}
            for latent, strength in zip(latents, strengths, strict=True)
        ]
        yield {"position": position, "token": text, "features": features}


def headers(plan: Plan) -> dict[str, str]:
    """What is known before the first token."""
    known: dict[str, Any] = {
        "sae": ",".join(plan.served.saes),
        "applied": ",".join(edit.id for edit in plan.applied),
        "warnings": ",".join(notice.code for notice in plan.notices),
    }
    return {f"x-featurehub-{name}": text for name, text in known.items() if text and text.isascii()}
