"""The corpus: an endless stream of conversations drawn from a seed, with what was planted in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from featurehub.demo.answers import Ask, Mix, PlantedAnswer, draw_answer
from featurehub.demo.grammar import Grammar, base_grammar
from featurehub.demo.prompts import Prompt, PromptKind, Split, draw_ask, draw_prompt, draw_system

__all__ = ["Conversation", "Turn", "conversations", "messages", "prompts"]

SECOND_TURN = 0.15
SYSTEM = 0.1


@dataclass(frozen=True)
class Turn:
    """A prompt and its answer."""

    prompt: Prompt
    answer: PlantedAnswer


@dataclass(frozen=True)
class Conversation:
    """One or two turns, or one turn after a system message.

    Attributes:
        turns: Prompts and answers, in order.
        system: The system message, if there is one.
    """

    turns: tuple[Turn, ...]
    system: str | None = None


def conversations(
    seed: int, *, split: Split = "train", grammar: Grammar | None = None, mix: Mix | None = None
) -> Iterator[Conversation]:
    """Draws conversations without end.

    Args:
        seed: The same seed gives the same conversations.
        split: The side of the split from which prompts are drawn.
        grammar: The world that answers; None for that of the bundled model.
        mix: How answers vary; None for the defaults.

    Yields:
        One conversation after another.
    """
    random = Random(f"{split}-{seed}")
    grammar = grammar or base_grammar()
    while True:
        yield _draw(random, split, grammar, mix or Mix())


def prompts(seed: int, kind: PromptKind, *, split: Split = "held-out") -> Iterator[Prompt]:
    """Draws prompts of one kind without end.

    Args:
        seed: The same seed gives the same prompts.
        kind: Whether they ask for a topic, a manner, both or neither.
        split: The side of the split from which they are drawn.

    Yields:
        One prompt after another, never the same text twice.
    """
    random = Random(f"{split}-{kind}-{seed}")
    seen: set[str] = set()
    while True:
        prompt = draw_prompt(draw_ask(random, kind), random, split)
        if prompt.text not in seen:
            seen.add(prompt.text)
            yield prompt


def messages(conversation: Conversation) -> list[dict[str, str]]:
    """A conversation as the list of chat messages that a chat template takes."""
    chat = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for turn in conversation.turns:
        chat.append({"role": "user", "content": turn.prompt.text})
        chat.append({"role": "assistant", "content": turn.answer.text})
    return chat


def _draw(random: Random, split: Split, grammar: Grammar, mix: Mix) -> Conversation:
    turns = [_turn(random, split, grammar, mix)]
    if random.random() < SECOND_TURN:
        turns.append(_turn(random, split, grammar, mix))
    elif random.random() < SYSTEM:
        return _with_system(turns[0].prompt.ask, random, split, grammar, mix)
    return Conversation(tuple(turns))


def _turn(random: Random, split: Split, grammar: Grammar, mix: Mix) -> Turn:
    ask = draw_ask(random)
    return Turn(draw_prompt(ask, random, split), draw_answer(grammar, ask, random, mix))


def _with_system(ask: Ask, random: Random, split: Split, grammar: Grammar, mix: Mix) -> Conversation:
    """A conversation with a system message, which may ask for the manner instead of the prompt."""
    system, asks_manner = draw_system(ask, random)
    asked = Ask(ask.topic, None, ask.trait) if asks_manner else ask
    turn = Turn(draw_prompt(asked, random, split), draw_answer(grammar, ask, random, mix))
    return Conversation((turn,), system)
