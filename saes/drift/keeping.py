"""Which labels hold of an SAE that was trained on for a retrained model, and which latent means a label that does not.

1. As in a drift check, "the label is there" is the judge's word, and F1 compares that with "the latent fires": on the
   old canaries, and on each model's own answers to their prompts. The SAE is another one, so the level from which on a
   latent counts as firing is chosen anew: on one half of the documents, for the other, and the other way round.
2. A label holds where ``saes.drift.rules`` finds it fresh on that. Where these find it suspect, it holds if what they
   lack is answers and the activations on the old canaries correlate as before, or if only these have changed while the
   label holds. One that was never exact enough to be judged on the canaries does not hold either where the new model
   hardly says what it names any more, or where its F1 on answers fell as far as would make another stale.
3. Of a label that does not hold, the successor is the latent with the best F1 on the new answers, if it reaches what
   the label reached before, less ``fall_world``. Where it reaches only the share ``NEAR`` of that, it comes close and
   does not mean the label. The F1 is computed of the ``CANDIDATES`` latents whose largest activations correlate best
   with where the label is there.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from featurehub.features import State
from featurehub.records import Label
from saes.activations import FeatureActivations
from saes.drift.measures import Judge, compare, read_worlds
from saes.drift.progress import Work, unheard
from saes.drift.rules import FeatureMeasures, Thresholds, judge_feature
from saes.drift.scores import best_threshold, f1
from saes.observed import Observations

__all__ = ["JudgedLabel", "Successor", "fires_by_half", "verify_labels"]

CANDIDATES = 16
"""Latents whose F1 is computed for one label."""
NEAR = 0.5
"""Share of the F1 of a successor from which on a latent comes close."""


class Successor(NamedTuple):
    """The latent that comes closest now to what a label says.

    Attributes:
        latent: Its index.
        f1: Its F1 on the new answers.
        means_it: Whether that is enough for it to mean the label.
    """

    latent: int
    f1: float
    means_it: bool


class Said(NamedTuple):
    """In how many answers the label is there: of the old model, and of the new."""

    before: int
    now: int


class JudgedLabel(NamedTuple):
    """What verification found of one label.

    Attributes:
        latent: The latent that had it.
        holds: Whether it holds there.
        reason: The rule that decided, in words.
        measures: What was measured, the old SAE on the old model against the new one on the new.
        level: The level from which on the latent says best that the label is there, on all of the new answers.
        successor: Where it does not hold: the latent that means it now, or comes close; None where none does.
    """

    latent: int
    holds: bool
    reason: str
    measures: FeatureMeasures
    level: float
    successor: Successor | None = None


def verify_labels(
    old_texts: Observations,
    old_answers: Observations,
    new_texts: FeatureActivations,
    new_answers: Observations,
    labels: Mapping[int, Label],
    judge: Judge,
    tokenizer: Any,
    thresholds: Thresholds,
    progress: Work = unheard,
) -> dict[int, JudgedLabel]:
    """Verifies every label.

    Args:
        old_texts: The parent's canaries, with the parent's activations on the old model.
        old_answers: The old model's answers to their prompts, likewise.
        new_texts: The same canaries, with the refreshed SAE's activations on the new model.
        new_answers: The new model's answers to the prompts, likewise.
        labels: By latent.
        judge: The judge that judged the labels first.
        tokenizer: A tokenizer of transformers, whose ids the documents are.
        thresholds: Effect sizes from which on a label does not hold.
        progress: Announces the work.

    Returns:
        What was found, by latent.
    """
    read = read_worlds(old_texts, old_answers, new_texts, new_answers, labels, judge, tokenizer, progress)
    found: dict[int, JudgedLabel] = {}
    for latent, label in labels.items():
        truths, peaks = read.truths_of(latent), read.peaks_of(latent)
        *_, in_before, in_now = truths
        fires = [fires_by_half(*each) for each in zip(truths, peaks, strict=True)]
        measures = compare(latent, label, truths, fires, float(read.r[latent]), int(read.firings[latent]))
        holds, reason = judge_label(measures, thresholds, Said(int(in_before.sum()), int(in_now.sum())))
        level = best_threshold(in_now, peaks[-1])
        bar = max(thresholds.f1_min, measures.f1_world_old - thresholds.fall_world)
        enough = not holds and int(in_now.sum()) >= thresholds.positives_min
        heir = successor(latent, in_now, read.worlds[-1].peaks, bar) if enough else None
        found[latent] = JudgedLabel(latent, holds, reason, measures, level, heir)
    return found


def fires_by_half(truth: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Step 1: in which documents a latent fires, each half by the level that is best on the other.

    Args:
        truth: [documents] of bool, whether the label is there.
        peaks: [documents] the latent's largest activation.

    Returns:
        [documents] of bool; False for a single document.
    """
    fires = np.zeros(len(truth), dtype=bool)
    if len(truth) < 2:
        return fires
    for half, other in ((0, 1), (1, 0)):
        fires[half::2] = peaks[half::2] > best_threshold(truth[other::2], peaks[other::2])
    return fires


def judge_label(m: FeatureMeasures, t: Thresholds, said: Said) -> tuple[bool, str]:
    """Step 2."""
    verdict = judge_feature(m, t)
    text, answers = m.f1_text_old - m.f1_text_new, m.f1_world_old - m.f1_world_new
    if verdict.reads is State.STALE:
        return False, verdict.reason
    if said.now < t.positives_min <= said.before / 2:
        return False, f"the new model hardly says what the label names any more: {said.now} times, before {said.before}"
    if answers > max(t.fall_world, t.errors * m.f1_world_error):
        fell = f"from {m.f1_world_old:.2f} to {m.f1_world_new:.2f}"
        return False, f"on answers of the new model its label's F1 fell {fell}"
    if verdict.reads is State.FRESH:
        return True, verdict.reason
    if m.r >= t.r_suspect:
        return True, f"{verdict.reason}; but its activations correlate {m.r:.2f} with those before"
    enough = min(m.positives_text, m.positives_world) >= t.positives_min and m.f1_text_old >= t.f1_min
    return enough and text <= t.fall_text and answers <= t.fall_world, verdict.reason


def successor(latent: int, truth: np.ndarray, peaks: np.ndarray, bar: float) -> Successor | None:
    """Step 3.

    Args:
        latent: The latent at which the label does not hold.
        truth: [documents] of bool, in which new answers the label is there.
        peaks: [documents, d_sae] every latent's largest activation in each.
        bar: The least F1 that is enough.
    """
    centred = truth - truth.mean()
    spread = peaks.std(axis=0)
    spread[latent] = 0.0
    alike = np.divide(centred @ peaks, spread, out=np.full(len(spread), -np.inf), where=spread > 0)
    order = [each for each in np.argsort(-alike, kind="stable")[:CANDIDATES] if spread[each] > 0]
    if not order:
        return None
    scores = [f1(truth, fires_by_half(truth, peaks[:, each])) for each in order]
    best = int(np.argmax(scores))
    return Successor(int(order[best]), scores[best], scores[best] >= bar) if scores[best] >= NEAR * bar else None
