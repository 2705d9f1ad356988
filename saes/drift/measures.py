"""What a drift check measures of each feature: how well its label holds, and whether it fires where it fired.

"The label is there" is the judge's word; "the feature fires" means above the level that was best on the old canaries.
F1 compares the two on the old canaries, as read by the old model and by the new, and on each model's own answers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurehub.records import Label
from saes.activations import FeatureActivations
from saes.drift.progress import Work, unheard
from saes.drift.rules import FeatureMeasures
from saes.drift.scores import best_threshold, correlation, f1, f1_pull
from saes.observed import Observations, observe

__all__ = ["Judge", "World", "compare", "judged", "measure", "read_worlds", "world"]


class Judge(Protocol):
    """Decides whether what a label names occurs in texts."""

    def mentions(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Returns for each text whether it shows what the label names, [texts] of bool."""
        ...


class World(NamedTuple):
    """Answers as text, and every latent's largest activation in each, [documents, d_sae]."""

    texts: list[str]
    peaks: np.ndarray


def measure(
    old_texts: Observations,
    old_answers: Observations,
    new_texts: FeatureActivations,
    new_answers: Observations,
    labels: Mapping[int, Label],
    judge: Judge,
    tokenizer: Any,
    progress: Work = unheard,
) -> list[FeatureMeasures]:
    """Returns all statistics of all labelled features. Only answers are judged, not the prompts before them."""
    read = read_worlds(old_texts, old_answers, new_texts, new_answers, labels, judge, tokenizer, progress)
    return [
        measure_feature(
            latent,
            label,
            read.truths_of(latent),
            read.peaks_of(latent),
            float(read.r[latent]),
            int(read.firings[latent]),
        )
        for latent, label in labels.items()
    ]


class ReadWorlds(NamedTuple):
    """What old and new model, each with its SAE, made of the old texts and of their own answers.

    Attributes:
        worlds: The old texts read by the old model, the same read by the new one, the old model's answers, and the new
            one's.
        truths: Of each of these, by latent in which of the texts its label occurs.
        r: [d_sae] correlation of old and new activations on the old texts.
        firings: [d_sae] on how many of their tokens each latent fired.
    """

    worlds: tuple[World, World, World, World]
    truths: tuple[Mapping[int, np.ndarray], ...]
    r: np.ndarray
    firings: np.ndarray

    def truths_of(self, latent: int) -> list[np.ndarray]:
        """In which texts of each world a latent's label occurs."""
        return [truth[latent] for truth in self.truths]

    def peaks_of(self, latent: int) -> list[np.ndarray]:
        """How strongly a latent fires in each text of each world."""
        return [each.peaks[:, latent] for each in self.worlds]


def read_worlds(
    old_texts: Observations,
    old_answers: Observations,
    new_texts: FeatureActivations,
    new_answers: Observations,
    labels: Mapping[int, Label],
    judge: Judge,
    tokenizer: Any,
    progress: Work = unheard,
) -> ReadWorlds:
    """Judges the labels on the old texts and on each model's own answers."""
    seen = observe(new_texts)
    text, before, now = (world(each, tokenizer) for each in (old_texts, old_answers, new_answers))
    # World by world, since a judge may keep an index of the texts.
    with progress("judging", 3 * len(labels), "labels") as advance:
        in_text, in_before, in_now = (judged(each, labels, judge, advance) for each in (text, before, now))
    return ReadWorlds(
        # The texts are the same, whichever model reads them.
        worlds=(text, text._replace(peaks=seen.answer_max()), before, now),
        truths=(in_text, in_text, in_before, in_now),
        r=correlation(old_texts.matrix, seen.matrix),
        firings=old_texts.matrix.getnnz(axis=0),
    )


def world(observed: Observations, tokenizer: Any) -> World:
    texts = [tokenizer.decode(observed.answer(i), skip_special_tokens=True) for i in observed.documents]
    return World(texts, observed.answer_max())


def judged(
    texts: World, labels: Mapping[int, Label], judge: Judge, advance: Callable[[int], None]
) -> dict[int, np.ndarray]:
    """Returns, by latent, in which of the texts its label occurs."""
    found: dict[int, np.ndarray] = {}
    for latent, label in labels.items():
        found[latent] = judge.mentions(label, texts.texts)
        advance(1)
    return found


def measure_feature(
    latent: int, label: Label, truths: Sequence[np.ndarray], peaks: Sequence[np.ndarray], r: float, firings: int
) -> FeatureMeasures:
    """Compares where a label occurs (``truths``) with how strongly its feature fires (``peaks``).

    Both are given for the old texts read by the old model, the same read by the new one, the old model's answers, and
    the new one's.
    """
    level = best_threshold(truths[0], peaks[0])
    return compare(latent, label, truths, [each > level for each in peaks], r, firings)


def compare(
    latent: int, label: Label, truths: Sequence[np.ndarray], fires: Sequence[np.ndarray], r: float, firings: int
) -> FeatureMeasures:
    """The same with where the feature fires, at whichever level."""
    text_old, text_new, world_old, world_new = map(f1, truths, fires)
    pulls = list(map(f1_pull, truths, fires))
    return FeatureMeasures(
        latent=latent,
        label=label.text,
        f1_text_old=text_old,
        f1_text_new=text_new,
        f1_world_old=world_old,
        f1_world_new=world_new,
        # The texts are the same, and the answers are others.
        f1_text_error=float(np.linalg.norm(pulls[0] - pulls[1])),
        f1_world_error=float(np.hypot(np.linalg.norm(pulls[2]), np.linalg.norm(pulls[3]))),
        positives_text=int(truths[0].sum()),
        positives_world_old=occurrences(truths[2], fires[2]),
        positives_world=occurrences(truths[3], fires[3]),
        r=r,
        firings=firings,
    )


def occurrences(truth: np.ndarray, fires: np.ndarray) -> int:
    """Returns how many answers an F1 rests on: the larger of those with the label and those where it fires."""
    return int(max(truth.sum(), fires.sum()))
