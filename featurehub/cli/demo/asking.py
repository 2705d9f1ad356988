"""Questions to a demo's server, and what its answers say of themselves."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from rich.text import Text

from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant

__all__ = ["Question", "applied", "ask", "ask_all", "texts"]

TEMPERATURE = 0.7


class Question(NamedTuple):
    """One request.

    Attributes:
        model: The model's name, or a variant of it.
        prompt: What the user says.
        seed: Decides the answer.
        max_tokens: Longest answer, in tokens.
    """

    model: str | Variant
    prompt: str
    seed: int
    max_tokens: int


def ask(client: Client, question: Question, **options: Any) -> Any:
    """The answer to one question; the options are those of chat completions."""
    model: Any = question.model
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question.prompt}],
        temperature=TEMPERATURE,
        seed=question.seed,
        max_tokens=question.max_tokens,
        **options,
    )


def ask_all(client: Client, questions: Sequence[Question]) -> list[Any]:
    """The answers, in the order of the questions, which are asked at once: the server batches them."""
    with ThreadPoolExecutor(max(1, len(questions))) as pool:
        return list(pool.map(lambda question: ask(client, question), questions))


def texts(*answers: Any) -> Iterator[str]:
    """What the answers say."""
    return (answer.choices[0].message.content or "" for answer in answers)


def applied(answer: Any) -> Text:
    """Which edit a steered answer says was applied to it."""
    edit = answer.featurehub["applied"][0]
    return Text(f"{edit['weight']:+.1f} is {edit['coefficient']:.1f}, dose {edit['dose']:.2f}", style="cyan")
