"""k-sparse probing: how few latents tell classes of texts apart (Gurnee et al., arXiv 2305.01610).

1. A document is the mean of its ordinary tokens: of its activations, and of the stream itself.
2. Documents are split into a training and a test part, with the same share of every class.
3. Each class is told from all others; of two classes, the second from the first.
4. The k latents are those whose means over the two groups differ most, on the training part (as SAEBench chooses them,
   arXiv 2503.09532).
5. Logistic regression on them, each scaled to unit variance and both groups weighted alike; accuracy and F1 on the test
   part.

Baselines for the scores: all latents; the stream itself, which an SAE can hardly beat; always predicting the more
frequent group; and the most latents of step 4, chosen and fitted on shuffled labels.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from featurehub.dictionary import Dictionary
from featurehub.settings import Frozen
from saes.documents import Document
from saes.drift.scores import f1
from saes.reader import StreamReader, read_tokens

__all__ = ["ClassProbe", "Means", "ProbeConfig", "Score", "document_means", "mean_scores", "probe"]


class ProbeConfig(Frozen):
    """How latents are probed.

    Attributes:
        ks: Numbers of latents to probe with.
        test: Share of the documents that scores are measured on, between 0 and 1.
        seed: Seed of the split and of the shuffled labels.
    """

    ks: tuple[int, ...] = Field(default=(1, 2, 5, 16), min_length=1)
    test: float = Field(default=0.25, gt=0, lt=1)
    seed: int = 0


class Means(NamedTuple):
    """Means over every document's ordinary tokens, in float32.

    Attributes:
        latents: [documents, d_sae] activations.
        stream: [documents, d_model] stream.
    """

    latents: np.ndarray
    stream: np.ndarray


class Score(NamedTuple):
    """How well a probe predicts a class on the test part.

    Attributes:
        accuracy: Share of correct predictions, in [0, 1].
        f1: F1 of the class, in [0, 1].
    """

    accuracy: float
    f1: float


class ClassProbe(NamedTuple):
    """The probes of one class against all others.

    Attributes:
        label: Name of the class.
        latents: Latents of step 4, those that differ most first.
        scores: Scores by what was probed: ``k1``, ``k2`` …, ``all``, ``stream``, ``majority``, ``shuffled``.
    """

    label: str
    latents: list[int]
    scores: dict[str, Score]


class Split(NamedTuple):
    """Indices of documents.

    Attributes:
        train: Those that probes are fitted on.
        test: Those that scores are measured on.
    """

    train: np.ndarray
    test: np.ndarray


def document_means(
    reader: StreamReader,
    dictionary: Dictionary,
    documents: Sequence[Document],
    special: Collection[int],
    documents_per_read: int = 256,
    progress: Callable[[int], None] = lambda documents: None,
) -> Means:
    """Step 1: returns the means of every document; a document without ordinary tokens is 0 everywhere.

    Args:
        reader: Reads the stream.
        dictionary: The SAE.
        documents: The documents.
        special: Ids of special tokens.
        documents_per_read: How many documents are read in one call; it bounds memory.
        progress: Called with 1 after each document.
    """
    latents, stream = [], []
    for _, x, mask in read_tokens(reader, documents, special, documents_per_read):
        count = max(1, int(mask.sum()))
        latents.append((dictionary.encode(x[mask]).sum(dim=0) / count).numpy())
        stream.append((x[mask].float().sum(dim=0) / count).numpy())
        progress(1)
    return Means(np.stack(latents), np.stack(stream))


def probe(means: Means, labels: Sequence[str], config: ProbeConfig) -> list[ClassProbe]:
    """Steps 2 to 5: probes every class; of two classes, only the second.

    Args:
        means: What is probed.
        labels: [documents] class of each document: at least two classes, each with documents enough for both parts.
        config: How to probe.
    """
    classes, given = sorted(set(labels)), np.array(labels)
    parts = train_test_split(np.arange(len(given)), test_size=config.test, stratify=given, random_state=config.seed)
    split = Split(*map(np.asarray, parts))
    named = classes[1:] if len(classes) == 2 else classes
    # Threads would wait for each other longer than they work: 6 times the CPU time for 240 documents.
    with threadpool_limits(1):
        return [probe_class(means, label, given == label, split, config) for label in named]


def probe_class(means: Means, label: str, truth: np.ndarray, split: Split, config: ProbeConfig) -> ClassProbe:
    order = by_difference(means.latents, truth, split)[: max(config.ks)]
    shuffled = truth.copy()
    shuffled[split.train] = np.random.default_rng(config.seed).permutation(truth[split.train])
    chance = by_difference(means.latents, shuffled, split)[: max(config.ks)]
    scores = {f"k{k}": score(means.latents[:, order[:k]], truth, split) for k in config.ks}
    scores["all"] = score(means.latents, truth, split)
    scores["stream"] = score(means.stream, truth, split)
    scores["majority"] = score(means.stream, truth, split, DummyClassifier(strategy="most_frequent"))
    scores["shuffled"] = score(means.latents[:, chance], shuffled, split)
    return ClassProbe(label, order.tolist(), scores)


def by_difference(latents: np.ndarray, truth: np.ndarray, split: Split) -> np.ndarray:
    """Step 4: returns all latents, the most telling first."""
    x, y = latents[split.train], truth[split.train]
    return np.argsort(-np.abs(x[y].mean(axis=0) - x[~y].mean(axis=0)), kind="stable")


def score(x: np.ndarray, truth: np.ndarray, split: Split, model: Any = None) -> Score:
    """Step 5: fits on the training part and scores the test part.

    Args:
        x: [documents, features], whatever is probed.
        truth: [documents] whether a document is of the class.
        split: The two parts.
        model: A classifier of scikit-learn; None for logistic regression.
    """
    fitted = model or make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    fitted.fit(x[split.train], truth[split.train])
    said, wanted = fitted.predict(x[split.test]), truth[split.test]
    return Score(float(accuracy_score(wanted, said)), f1(wanted, said))


def mean_scores(probes: Sequence[ClassProbe]) -> dict[str, Score]:
    """Returns the mean over all classes of each kind of score; {} if there are no probes."""
    found = {name: [each.scores[name] for each in probes] for name in (probes[0].scores if probes else ())}
    return {name: Score(*np.mean(scores, axis=0).tolist()) for name, scores in found.items()}
