"""What a search for edits finds, and what was measured of it; and the same of a search for conditions."""

from typing import Literal

from featurehub.conditions import FeatureCondition
from featurehub.settings import Frozen

__all__ = [
    "INSTRUCTION_CHARS", "AutoconditionalResult", "AutosteerResult", "ChosenEdit", "FoundCondition", "Outcome", "Trial",
]  # fmt: skip

INSTRUCTION_CHARS = 2000
"""Longest instruction, in characters."""


class ChosenEdit(Frozen):
    """A feature, and the weight that it is nudged with.

    Attributes:
        id: The feature's id.
        label: Its label.
        sae: Id of its SAE.
        latent: Index in that SAE.
        weight: In [-1, 1] on the calibrated scale.
    """

    id: str
    label: str
    sae: str
    latent: int
    weight: float


class Outcome(Frozen):
    """What answers were like.

    Attributes:
        effect: How much likelier the unsteered model finds each of their tokens once it is given the instruction: the
            mean of log p(token | instruction) - log p(token), in nats.
        error: The standard error of the effect, over answers.
        perplexity: That of the answers under the unsteered model without the instruction.
        repetition: Share of their runs of three tokens that had occurred in the same answer before.
    """

    effect: float
    error: float
    perplexity: float
    repetition: float


class Trial(Frozen):
    """Edits that were tried.

    Attributes:
        edits: The edits.
        outcome: What the answers under them were like.
        coherent: Whether that is within the bounds.
    """

    edits: tuple[ChosenEdit, ...]
    outcome: Outcome
    coherent: bool


class AutosteerResult(Frozen):
    """Edits in place of an instruction, with what they do to answers that chose nothing.

    >>> found = client.features.autosteer("be concise", candidates=4)
    >>> beside = found.prompting.effect, found.prompting.perplexity

    Attributes:
        object: Always "autosteer".
        instruction: The instruction.
        edits: The edits; none where nothing beats chance, or all that is tried breaks the text.
        reason: Why there are none; "" where there are some.
        unsteered: Answers to the held-out prompts as they are.
        prompting: Answers under the instruction.
        steered: Answers under the best edits; None where nothing coherent was found.
        both: Answers under both.
        chance: Answers under features drawn at random, as many and as strong.
        tried: All that was tried, the largest effect first; on prompts that are not the held-out ones.
    """

    object: Literal["autosteer"] = "autosteer"
    instruction: str
    edits: tuple[ChosenEdit, ...]
    reason: str = ""
    unsteered: Outcome
    prompting: Outcome
    steered: Outcome | None = None
    both: Outcome | None = None
    chance: Outcome | None = None
    tried: tuple[Trial, ...]

    @property
    def features(self) -> dict[str, float]:
        """The edits as the ``features`` of a request.

        >>> found = client.features.autosteer("be concise")
        >>> answer = client.chat.completions.create(model="demo", messages=chat, features=found.features)
        """
        return {each.id: each.weight for each in self.edits}


class FoundCondition(FeatureCondition):
    """A condition that was found, as requests write one.

    Attributes:
        label: The feature's label.
    """

    label: str


class AutoconditionalResult(Frozen):
    """A condition that holds in chats of one kind, with how well it tells those that chose nothing.

    >>> found = client.features.autoconditional("when the user talks about banking")
    >>> found.conditions[0].label
    'banking: loan, deposit'

    Attributes:
        object: Always "autoconditional".
        condition: What the chats have in common, in words.
        conditions: The conditions, of which one is enough; none where nothing tells better than chance.
        reason: Why there are none; "" where there are some.
        accuracy: Mean of the shares of held-out examples and of held-out others that are told right; .5 by chance.
        found_in: Share of the held-out examples in which it holds.
        wrongly_found_in: Share of the held-out others in which it holds.
    """

    object: Literal["autoconditional"] = "autoconditional"
    condition: str
    conditions: tuple[FoundCondition, ...]
    reason: str = ""
    accuracy: float
    found_in: float
    wrongly_found_in: float

    @property
    def when(self) -> dict[str, object]:
        """The conditions as the ``when`` of an edit.

        >>> found = client.features.autoconditional("when the user talks about banking")
        >>> variant = Variant("demo").set("formal", 0.5, when=found.when)
        """
        return {"any": [each.model_dump(mode="json", exclude={"label"}) for each in self.conditions]}
