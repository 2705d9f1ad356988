"""The ``featurehub`` object of an answer: what was applied to it, as the server sends it and the SDK reads it."""

from pydantic import SkipValidation
from typing_extensions import TypedDict

from featurehub.features import AppliedEdit, State
from featurehub.settings import Frozen

__all__ = [
    "AbortedAnswer",
    "AnswerReport",
    "AnsweringVariant",
    "Applied",
    "ChoiceReport",
    "FeatureActivation",
    "Notice",
    "SaeReport",
    "ServedSae",
    "TokenActivations",
]


class Notice(Frozen):
    """Something that the client should know although the request was answered.

    Attributes:
        code: What it is about, for programs: "feature_stale", "sae_unchecked", "nothing_steered" and the like.
        message: The same in a sentence, for people.
        feature: Id of the feature that it is about; None where it is about no single feature.
        sae: Id of the SAE that it is about; None where it is about a feature, or about no single SAE.
    """

    code: str
    message: str
    feature: str | None = None
    sae: str | None = None


class ServedSae(Frozen):
    """An SAE that the server steers with.

    Attributes:
        id: Content hash of its weights.
        name: The name it was registered under.
        hook: Where it reads and writes, such as "layers.8.resid_post".
        state: Its state on the loaded model.
    """

    id: str
    name: str
    hook: str
    state: State


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

    >>> told = report_of(client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7}))
    >>> [(each.label, each.weight) for each in told.applied]
    [('pirate', 0.7)]

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


class ChoiceReport(Applied):
    """What was applied to one of several answers.

    Attributes:
        index: Its place in the answer's own ``choices``.
    """

    index: int


class AnswerReport(Applied):
    """What was applied to a request. Of several answers: to all of them together, and to each.

    >>> told = report_of(client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7}, n=2))
    >>> [(each.index, each.applied[0].label) for each in told.choices]
    [(0, 'pirate'), (1, 'pirate')]

    Counts are then over all answers. ``aborted`` is that of the first answer that an abort ended, and ``activations``
    is None, since positions are those of one answer.

    Attributes:
        warnings: What the client should know although the request was answered.
        variant: The stored variant that answered; None where the request named none.
        choices: What was applied to each, in their order; empty where there is one.
    """

    warnings: tuple[Notice, ...]
    variant: AnsweringVariant | None = None
    choices: tuple[ChoiceReport, ...] = ()
