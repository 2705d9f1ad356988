"""Options of `featurehub label` that say how features are named, and which language model is asked."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from featurehub.errors import InvalidInput

if TYPE_CHECKING:
    from featurehub.runs.labelers import NamingConfig
    from labeling.llm.budget import BudgetLimits

__all__ = [
    "ExplainedBy", "LlmAtOnce", "LlmModel", "LlmMoney", "LlmPrices", "LlmTokens", "LlmUrl", "ScoredBy", "naming_of",
]  # fmt: skip

Name = TypeVar("Name", bound=StrEnum)
ExplainedBy = Annotated[
    str, typer.Option("--explainer", help="What names features: offline, projection (what they write), or llm.")
]
ScoredBy = Annotated[
    str,
    typer.Option("--scorer", help="What scores names: words, embedding; a language model by detection or fuzzing."),
]
LlmUrl = Annotated[str, typer.Option(help="OpenAI-compatible endpoint of a language model; its key is OPENAI_API_KEY.")]
LlmModel = Annotated[str, typer.Option(help="The model's name at that endpoint.")]
LlmTokens = Annotated[str, typer.Option(help="The most tokens that it may take, such as 500k or 2M.")]
LlmMoney = Annotated[float | None, typer.Option(min=0.0, help="The most that it may cost; needs --llm-prices.")]
LlmPrices = Annotated[
    str, typer.Option(help="Prices of a million tokens of questions and of answers, such as 0.15,0.60.")
]
LlmAtOnce = Annotated[int, typer.Option(min=1, max=256, help="Most questions in flight.")]


def naming_of(
    explainer: str, scorer: str, url: str, model: str, tokens: str, money: float | None, prices: str, at_once: int
) -> "NamingConfig":
    """How features are named.

    Args:
        explainer: Name of the explainer.
        scorer: Name of the scorer; "" for the explainer's usual one.
        url: The language model's endpoint; "" for none.
        model: Its name there.
        tokens: The most tokens that it may take; "" for no bound.
        money: The most that it may cost; None for no bound.
        prices: Prices of a million tokens of questions and of answers.
        at_once: Most questions in flight.

    Raises:
        InvalidInput: An option has a value that it cannot have, or one that is needed is missing.
    """
    from featurehub.embedding import DEFAULT, EMBEDDER
    from featurehub.runs.labelers import ExplainerName, NamingConfig, ScorerName
    from labeling.llm import LlmConfig

    llm = None
    if url and model:
        llm = LlmConfig(url=url, model=model, at_once=at_once, limits=limits_of(tokens, money, prices))
    config = NamingConfig(
        explainer=one_of(ExplainerName, explainer, "explainer"),
        scorer=one_of(ScorerName, scorer, "scorer") if scorer else None,
        llm=llm,
        embedder=os.environ.get(EMBEDDER) or DEFAULT,
    )
    return config.checked()


def limits_of(tokens: str, money: float | None, prices: str) -> "BudgetLimits":
    """The most that a language model may take. Raises InvalidInput."""
    from labeling.llm.budget import BudgetLimits
    from saes.budget import Budget

    most = Budget.parse(tokens).tokens
    if tokens and most is None:
        raise InvalidInput(f"--llm-tokens {tokens!r}: give tokens, such as 500k or 2M", param="llm_tokens")
    if (money is not None) != bool(prices):
        raise InvalidInput("a bound on money needs prices: give --llm-money and --llm-prices", param="llm_prices")
    try:
        question, answer = map(float, prices.split(",") if prices else (0, 0))
        return BudgetLimits(tokens=most, money=money, prompt_price=question, answer_price=answer)
    except ValueError:
        raise InvalidInput(
            f"--llm-money {money} with --llm-prices {prices!r}: give two prices of a million tokens, such as "
            "0.15,0.60, and a bound above 0",
            param="llm_prices",
        ) from None


def one_of(kind: type[Name], value: str, option: str) -> Name:
    """The member of an enumeration. Raises InvalidInput."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InvalidInput(f"--{option} {value!r} is not known; known are {known}", param=option) from None
