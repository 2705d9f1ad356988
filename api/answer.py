"""The ``featurehub`` object of an answer, and its headers."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SkipValidation
from typing_extensions import TypedDict

from api.engine import SteeringEngine
from api.notice import Notice
from api.plan import Plan
from featurehub.activations import ActivationBlock
from featurehub.features import AppliedEdit
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["Answer", "Labels", "headers", "make_answer"]

Labels = Mapping[tuple[str, int], tuple[str, str]]
"""Feature id and label by (id of the SAE, latent)."""


class FeatureActivation(TypedDict):
    """One active feature of one token.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        activation: Its raw activation, greater than 0.
    """

    id: str
    label: str
    activation: float


class TokenActivations(TypedDict):
    """One computed token's strongest features in one SAE. A dictionary, since there may be millions of them.

    Attributes:
        position: Index of the token in the request, counted from the first token of the prompt.
        token: The text that it adds to the tokens before it.
        features: Its active features, strongest first; at most ``top_k``.
    """

    position: int
    token: str
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


class Answer(Frozen):
    """What was applied to a request.

    Attributes:
        applied: The request's edits in its order, each with what the engine counted. ``dose`` is the mean ‖Δ‖/‖h‖ over
            the steered tokens, of all edits of the request together; ``clipped`` says whether the dose guard scaled the
            edits of any token down.
        steered_tokens: Tokens with at least one edit in force.
        warnings: What the client should know although the request was answered.
        activations: One entry per token and SAE; None where the request did not ask for activations.
        aborted: The abort that ended the answer; None where none did.
    """

    applied: tuple[AppliedEdit, ...]
    steered_tokens: int
    warnings: tuple[Notice, ...]
    activations: SkipValidation[list[TokenActivations] | None]
    aborted: AbortedAnswer | None = None

    def to_wire(self) -> dict[str, Any]:
        """The answer as a dictionary of JSON types."""
        return self.model_dump(mode="json", exclude={"activations"}) | {"activations": self.activations}


def make_answer(plan: Plan, report: SteerReport, labels: Labels, engine: SteeringEngine) -> Answer:
    """Combines the plan of a request with what the engine reported about it.

    Args:
        plan: What was sent to the engine.
        report: What the engine counted.
        labels: Feature id and label of the latents in the report's activations; the others go by their index.
        engine: Decodes the tokens whose activations are returned.
    """
    sent = {(edit.sae, edit.latent): i for i, edit in enumerate(plan.steering.edits)}
    return Answer(
        applied=tuple(dosed(edit, sent.get((edit.sae, edit.latent)), report) for edit in plan.applied),
        steered_tokens=report.steered_tokens,
        warnings=plan.notices + nothing_steered(plan, report),
        activations=activations(plan, report, labels, engine),
        aborted=aborted(plan, report),
    )


def dosed(edit: AppliedEdit, index: int | None, report: SteerReport) -> AppliedEdit:
    """The edit with what the engine counted.

    Args:
        edit: An edit of the plan.
        index: Its index among the edits that were sent; None for an edit that changes nothing and so was not sent.
        report: What the engine counted.
    """
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
    """The activations of a block, token by token. A latent without a label is named by its index in the SAE."""
    known = {latent: labels.get((block.sae, latent), (f"sae:{block.sae}/{latent}", "")) for latent in block.distinct()}
    texts = engine.pieces(block.tokens())
    for text, (position, _, latents, strengths) in zip(texts, block.rows(), strict=True):
        features: list[FeatureActivation] = [
            {"id": known[latent][0], "label": known[latent][1], "activation": strength}
            for latent, strength in zip(latents, strengths, strict=True)
        ]
        yield {"position": position, "token": text, "features": features}


def headers(plan: Plan) -> dict[str, str]:
    """The response headers whose values are known before the first token: the SAEs, the applied edits and the warnings.

    A header whose value is empty or not ASCII is left out.
    """
    known: dict[str, Any] = {
        "sae": ",".join(plan.served.saes),
        "applied": ",".join(edit.id for edit in plan.applied),
        "warnings": ",".join(notice.code for notice in plan.notices),
    }
    return {f"x-featurehub-{name}": text for name, text in known.items() if text and text.isascii()}
