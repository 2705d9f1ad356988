"""Which names, prompts and searches the tour on SmolLM2 shows; ``shown.toml`` has them."""

import tomllib
from importlib.resources import files
from typing import Self

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["Read", "Search", "Shown", "Steered"]


class Steered(Frozen):
    """A name that an answer is steered by.

    Attributes:
        domain: The kind of thing that the name stands for, for people.
        query: What is searched for; the first hit is steered with.
        prompt: What is asked.
        weight: How strongly it is steered, in [-1, 1].
    """

    domain: str
    query: str
    prompt: str
    weight: float = Field(default=1.0, ge=-1.0, le=1.0)


class Read(Frozen):
    """The answer whose features are shown.

    Attributes:
        prompt: What is asked.
        max_tokens: Its greatest length, in tokens.
    """

    prompt: str
    max_tokens: int = Field(ge=1)


class Search(Frozen):
    """The search that is shown, with the number of hits."""

    query: str
    limit: int = Field(ge=1, le=100)


class Shown(Frozen):
    """Everything that the tour shows.

    Attributes:
        max_tokens: Longest steered and unsteered answers, in tokens.
        verdicts: How many of a drift check's verdicts are listed.
        read: The answer whose features are shown.
        search: The search that is shown.
        steered: The names that answers are steered by.
    """

    max_tokens: int = Field(ge=1)
    verdicts: int = Field(ge=1)
    read: Read
    search: Search
    steered: tuple[Steered, ...] = Field(min_length=1)

    @classmethod
    def load(cls) -> Self:
        """What the package says."""
        return cls.model_validate(tomllib.loads(files(__package__ or "").joinpath("shown.toml").read_text("utf-8")))
