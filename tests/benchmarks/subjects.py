"""What ``architectures.py`` trains SAEs on: a model, text, and concepts whose truth is known for any text."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from featurehub.cli.demo.planted import user
from featurehub.demo.bundle import HOOK_LAYER, bundled_model
from featurehub.demo.concepts import Kind, names
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.prompts import neutral_prompts
from featurehub.runs.judges import BuildJudge, RecognizerJudge, judge_of
from featurehub.token_ids import Message
from saes.texts import read_texts

SHARED = Path(os.environ.get("FEATUREHUB_SHARED", Path(__file__).parents[3] / "shared")) / "data"
WORDS = ("dog", "cat", "bird", "tree", "ball", "car", "flower", "fish", "rain", "park", "cake", "toy", "sad", "scared")

Entry = str | list[Message]


class Subject(NamedTuple):
    """read: concepts that features should tell;  steered: those that features should bring about

    calibrate, evaluate: beginnings of answers that doses are chosen on, and judged on
    doses:               that are tried, as shares of the stream's length
    """

    model: Path
    layer: int
    training: Sequence[Entry]
    held_out: Sequence[Entry]
    read: Sequence[str]
    steered: Sequence[str]
    judge: BuildJudge
    calibrate: Sequence[Entry]
    evaluate: Sequence[Entry]
    doses: tuple[float, ...]


def demo() -> Subject:
    return Subject(
        model=bundled_model(),
        layer=HOOK_LAYER,
        training=[messages(c) for c in islice(conversations(7), 5000)],
        held_out=[messages(c) for c in islice(conversations(31337, split="held-out"), 1200)],
        read=names(),
        steered=names(Kind.TOPIC, Kind.MANNER),
        judge=RecognizerJudge(),
        calibrate=[user(prompt) for prompt in neutral_prompts("calibrate")],
        evaluate=[user(prompt) for prompt in neutral_prompts("evaluate")],
        doses=(0.4, 0.55, 0.7),
    )


def stories() -> Subject:
    """A model that nobody here made; a concept is a word."""
    texts = read_texts(str(SHARED / "tinystories_1000.json"))
    return Subject(
        model=SHARED / "stories260k",
        layer=3,
        training=texts[:700],
        held_out=texts[700:],
        read=WORDS,
        steered=WORDS,
        judge=judge_of(texts),
        calibrate=["Once upon a time, there was a", "One day, a little girl"],
        evaluate=["Every day, the boy", "In the morning,", "There was once", "Lily and Tom"],
        doses=(0.3, 0.5, 0.7, 0.9),
    )


SUBJECTS = {"demo": demo, "stories": stories}
