"""What ``POST /v1/features/autosteer`` is asked for, what it tries, and the bounds of that."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from api.analysis.neutral import PROMPTS
from api.request import Name, ReturnActivations, SteeringRequest
from featurehub.autosteer import INSTRUCTION_CHARS
from featurehub.settings import Frozen

__all__ = ["SCALES", "TOGETHER", "WEIGHTS", "AutosteerBody", "parts_of"]

WEIGHTS = (0.35, 0.5, 0.7)
SCALES = (1.0, 0.6)
TOGETHER = 3
"""Most features of the edits; those that are added are the next best alone, as many."""
PARTS = 5
"""One part of the prompts is for candidates, one for trials; the others are held out."""
ANSWER_TOKENS = 200_000
"""Most tokens of all answers of a request."""
Prompts = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=2000)], ...], Field(min_length=2 * PARTS, max_length=96)
]


def parts_of(prompts: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """The parts of prompts that may be in any order: for candidates, for trials, held out."""
    return prompts[::PARTS], prompts[1::PARTS], [each for at, each in enumerate(prompts) if at % PARTS > 1]


class AutosteerBody(Frozen):
    """The body of a request.

    Attributes:
        instruction: What the answers should be like, as one would tell the model: "be concise".
        model: As in a chat completion; left out, the model that is served.
        sae: The only SAE whose features may be used, by its id, name or alias; None for all that are served.
        prompts: What is answered meanwhile, 10 to 96, three fifths of which measure; best if they ask for nothing
            special.
        candidates: How many features are tried alone, in [1, 32].
        max_tokens: Longest answer, in [8, 256].
        temperature: Of sampling.
        max_perplexity: How many times that of unsteered answers the perplexity of steered ones may be.
        seed: Decides what is drawn.
    """

    instruction: str = Field(min_length=1, max_length=INSTRUCTION_CHARS)
    model: str | None = None
    sae: Name | None = None
    prompts: Prompts = PROMPTS
    candidates: Annotated[int, Field(ge=1, le=32, strict=True)] = 8
    max_tokens: Annotated[int, Field(ge=8, le=256, strict=True)] = 40
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    max_perplexity: float = Field(default=3.0, ge=1.0, le=100.0)
    seed: Annotated[int, Field(ge=0, le=1 << 31, strict=True)] = 0

    @model_validator(mode="after")
    def within_budget(self) -> Self:
        """Refuses what takes too long."""
        candidates, trials, held_out = map(len, parts_of(self.prompts))
        tried = 1 + len(WEIGHTS) * self.candidates + len(SCALES) * (TOGETHER - 1)
        answers = 2 * candidates + tried * trials + 5 * held_out
        if answers * self.max_tokens > ANSWER_TOKENS:
            raise ValueError(
                f"{answers} answers of up to {self.max_tokens} tokens; at most {ANSWER_TOKENS:,} tokens are drawn. "
                "Send fewer prompts or candidates, or a smaller max_tokens"
            )
        return self

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        return SteeringRequest(reads=ReturnActivations(top_k=1, sae=self.sae))
