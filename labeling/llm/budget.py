"""What asking a language model may cost, in tokens and in money, never exceeded however many ask at once.

1. A call reserves its worst case before it begins. Where what is spent leaves no room for that, the budget is over;
   where only calls that still run are in the way, the caller waits for them.
2. When a call ends, what it used takes the place of what it had reserved.
"""

import asyncio
from typing import NamedTuple

from pydantic import Field

from featurehub.settings import Frozen
from labeling.explainer import OutOfBudget

__all__ = ["BudgetLimits", "LlmBudget", "Usage"]


class Usage(NamedTuple):
    """Tokens of prompts and of answers."""

    prompt: int = 0
    answer: int = 0

    def __add__(self, other: "Usage") -> "Usage":  # type: ignore[override]
        return Usage(self.prompt + other.prompt, self.answer + other.answer)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt - other.prompt, self.answer - other.answer)

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt + self.answer


class BudgetLimits(Frozen):
    """The most that a run may use.

    Attributes:
        tokens: Tokens of prompts and answers together; None for no bound.
        money: In the currency of the prices; None for no bound.
        prompt_price: Price of a million tokens of prompts.
        answer_price: Price of a million tokens of answers.
    """

    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0.0)
    prompt_price: float = Field(default=0.0, ge=0.0)
    answer_price: float = Field(default=0.0, ge=0.0)

    def price(self, usage: Usage) -> float:
        """What that costs."""
        return (self.prompt_price * usage.prompt + self.answer_price * usage.answer) / 1e6

    def allow(self, usage: Usage) -> bool:
        """Whether that is within the limits."""
        within = self.tokens is None or usage.tokens <= self.tokens
        return within and (self.money is None or self.price(usage) <= self.money)


class LlmBudget:
    """Keeps count of what calls use and reserve.

    Attributes:
        limits: The most that may be used.
        spent: What calls that ended have used.
        held: What calls that run have reserved.
        calls: How many calls ended.
    """

    def __init__(self, limits: BudgetLimits) -> None:
        self.limits = limits
        self.spent, self.held, self.calls = Usage(), Usage(), 0
        self._settled = asyncio.Condition()

    async def reserve(self, worst: Usage) -> None:
        """Step 1.

        Args:
            worst: The most that the call can use.

        Raises:
            OutOfBudget: What is left does not hold it.
        """
        async with self._settled:
            while self.limits.allow(self.spent + worst):
                if self.limits.allow(self.spent + self.held + worst):
                    self.held += worst
                    return
                await self._settled.wait()
        raise OutOfBudget

    async def settle(self, worst: Usage, used: Usage) -> None:
        """Step 2.

        Args:
            worst: What was reserved.
            used: What the call used.
        """
        async with self._settled:
            self.held, self.spent, self.calls = self.held - worst, self.spent + used, self.calls + 1
            self._settled.notify_all()
