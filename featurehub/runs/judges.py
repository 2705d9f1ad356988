"""What judges whether a text shows what a label names: the demo's recogniser if it knows the label, else its words."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from featurehub.demo.concepts import names
from featurehub.demo.recognizer import recognize
from featurehub.errors import InvalidInput
from featurehub.names import fold
from featurehub.records import Label
from featurehub.token_ids import Entry
from labeling.bench import SteeringJudge
from labeling.judge import WordJudge
from labeling.words import words_in
from saes.drift.measures import Judge
from saes.texts import contents

__all__ = ["BuildJudge", "RecognizerJudge", "judge_called", "judge_of", "judge_with"]


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration. Its name is kept, so that later checks ask the same judge."""

    @property
    def name(self) -> str:
        """The name under which ``judge_called`` finds it."""
        ...


class RecognizerJudge:
    """Judges the bundled model's answers with the recogniser.

    A label whose name is that of a planted concept is judged by the recogniser, any other label by its words.
    """

    name = "recognizer"

    def __init__(self) -> None:
        self.concepts = frozenset(names())
        self.words = WordJudge()

    def mentions(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Whether at least one sentence has what the label names, [texts] bool."""
        concept = fold(label.name)
        if concept not in self.concepts:
            return self.words.mentions(label, texts)
        return np.array([concept in recognize(text).mentions for text in texts], dtype=bool)

    def shows(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Whether more than half of the sentences have what the label names, [texts] bool."""
        concept = fold(label.name)
        if concept not in self.concepts:
            return self.words.shows(label, texts)
        return np.array([concept in recognize(text).shows for text in texts], dtype=bool)

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        """Whether the grammar of the demo's world makes the text, [texts] bool."""
        return np.array([recognize(text).well_formed for text in texts], dtype=bool)


def judge_of(entries: Sequence[Entry]) -> WordJudge:
    """A word judge whose vocabulary is the words of these texts and chats."""
    texts = (text for entry in entries for text in contents(entry))
    return WordJudge(vocabulary=frozenset(word for text in texts for word in words_in(text)))


def judge_called(name: str) -> RecognizerJudge | WordJudge:
    """The judge with this name; the word judge for "", if no judge is on record.

    Raises:
        InvalidInput: No judge with this name is known here.
    """
    return judge_with(name)


def judge_with(name: str, vocabulary: Collection[str] = ()) -> RecognizerJudge | WordJudge:
    """The judge with this name, as ``judge_called``; a word judge knows these words.

    Raises:
        InvalidInput: No judge with this name is known here.
    """
    if name in ("", WordJudge.name):
        return WordJudge(vocabulary=frozenset(vocabulary))
    if name == RecognizerJudge.name:
        return RecognizerJudge()
    raise InvalidInput(
        f"the SAE's labels were judged by {name!r}, which is not known here; known are "
        f"{RecognizerJudge.name}, {WordJudge.name}"
    )
