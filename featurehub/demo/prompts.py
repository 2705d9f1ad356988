"""Prompts: paraphrases of what they ask for, and the split that keeps some of them out of training.

A prompt's split follows from a hash of its text alone, so the order of drawing cannot leak a held-out prompt into
training; one in eight is held out. Of the held-out neutral prompts, those for *calibrating* and those for *evaluating*
use different requests.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from random import Random
from typing import Any, Literal

from featurehub.demo.answers import Ask, join_words
from featurehub.demo.lexicon import base_lexicon
from featurehub.errors import InvalidInput

__all__ = [
    "Prompt",
    "PromptKind",
    "Split",
    "draw_ask",
    "draw_prompt",
    "draw_system",
    "is_held_out",
    "neutral_prompts",
    "prompt_words",
]

Split = Literal["train", "held-out"]
"""Whether a prompt may be used in training."""
PromptKind = Literal["topic", "manner", "both", "neither"]
"""What a prompt asks for."""

HELD_OUT_ONE_IN = 8
KINDS: dict[PromptKind, int] = {"topic": 30, "manner": 22, "both": 23, "neither": 25}
ASKS_TRAIT = 0.18
PURPOSES = ("calibrate", "evaluate")


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        text: Its text.
        ask: What it asks for.
    """

    text: str
    ask: Ask


def is_held_out(text: str) -> bool:
    """Whether a prompt is kept out of training."""
    return hashlib.sha256(text.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def draw_ask(random: Random, kind: PromptKind | None = None) -> Ask:
    """Draws what to ask for.

    Args:
        random: Source of randomness.
        kind: Whether to ask for a topic (or sub-topic), a manner, both or neither. None draws the kind too; only then
            does the ask sometimes include a trait.
    """
    lexicon = base_lexicon()
    trait = kind is None and random.random() < ASKS_TRAIT
    kind = kind or random.choices(tuple(KINDS), weights=tuple(KINDS.values()))[0]
    return Ask(
        topic=random.choice(tuple(lexicon.fields)) if kind in ("topic", "both") else None,
        manner=random.choice(tuple(lexicon.manners)) if kind in ("manner", "both") else None,
        trait=random.choice(tuple(lexicon.traits)) if trait else None,
    )


def draw_prompt(ask: Ask, random: Random, split: Split = "train") -> Prompt:
    """Draws a paraphrase of ``ask`` from one side of the split."""
    while True:
        text = _paraphrase(ask, random)
        if is_held_out(text) == (split == "held-out"):
            return Prompt(text, ask)


@cache
def neutral_prompts(purpose: str) -> tuple[str, ...]:
    """Twelve held-out prompts that ask for nothing in particular.

    Args:
        purpose: ``"calibrate"`` or ``"evaluate"``; the two sets have no request in common.

    Raises:
        InvalidInput: There is no such purpose.
    """
    if purpose not in PURPOSES:
        raise InvalidInput(f"purpose must be one of {', '.join(PURPOSES)}, not {purpose!r}", param="purpose")
    chosen = []
    for request in _data()["neutral"][PURPOSES.index(purpose) :: 2]:
        frames = product(_data()["greetings"], _data()["endings"])
        apart = (frame for frame in frames if not set(request.split()) & set(frame))
        texts = (_framed(greeting, request, ending) for greeting, ending in apart)
        chosen.append(next(text for text in texts if is_held_out(text)))
    return tuple(chosen)


def prompt_words() -> frozenset[str]:
    """Every word of prompts and system messages, except the names of concepts."""
    texts = [text for value in _data().values() for text in value]
    return frozenset(word for text in texts for word in text.split() if not word.startswith("{")) | {"a", "an"}


def draw_system(ask: Ask, random: Random) -> tuple[str, bool]:
    """Draws a system message.

    Returns:
        The message, and whether it asks for the manner of ``ask``.
    """
    if ask.manner and random.random() < 0.5:
        return _filled(random.choice(_data()["system_manner"]), ask), True
    return random.choice(_data()["system"]), False


def _paraphrase(ask: Ask, random: Random) -> str:
    data = _data()
    request = random.choice(data[_template(ask)])
    if ask.topic and ask.manner:
        mark = " ?" if request.endswith(" ?") else ""
        if random.random() < 0.5 or mark:
            request = f"{random.choice(data['manner_before'])} {request}"
        else:
            request = f"{request} {random.choice(data['manner_after'])}"
    if ask.trait:
        request = f"{request.removesuffix(' ?')} {random.choice(data['trait'])}"
    return _framed(random.choice(data["greetings"]), _filled(request, ask), random.choice(data["endings"]))


def _template(ask: Ask) -> str:
    if ask.topic:
        return "topic"
    return "manner" if ask.manner else "neutral"


def _framed(greeting: str, request: str, ending: str) -> str:
    if request.endswith(" ?"):
        request, ending = request.removesuffix(" ?"), f"{ending.strip('.')} ?".strip()
    return join_words(part for part in (greeting, request, ending) if part)


def _filled(text: str, ask: Ask) -> str:
    article = "an" if (ask.manner or "")[:1] in tuple("aeiou") else "a"
    return text.format(topic=ask.topic, manner=ask.manner, trait=ask.trait, a=article)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("featurehub.demo").joinpath("prompts.toml").read_text("utf-8"))
