"""Which latents fire where a word occurs: the index in which a search finds features by words that no label has.

A label keeps the few words that tell its latent best. Most words that people search for are in no label; but where they
occur in the corpus, they say by themselves which latents they go with.

1. a_{u,i}: how strongly latent i fires in sentence u, in [0, 1] (``labeling.units``)
   z_{u,i} = (a_{u,i} − mean_i) / (std_i + mean of all std)
2. A_{w,i} = Σ_{u has w} z_{u,i} / (n_w + PRIOR), for a word in n_w units: a mean, drawn to 0 where these are few. It is
   taken over sentences, which have the word, and over answers, whose requests have it (people name what they ask for,
   a tone or a form for instance, which the answer then has without the word); A is the larger of the two.
3. B_w = A_w + Σ_v cos(w, v) · A_v over the ``ALIKE`` words v next to w in the model's own unembedding, mean-centred:
   rare words are found by what common ones go with.
4. C_{w,i} = (B_{w,i} − mean of B_i over all words) · min(1, log(1 / g_w) / log(1 / RARE)), for a word in a share g_w of
   all sentences: neither what goes with a word that stands everywhere is a subject, nor what goes with most words.
5. Of each word, the ``KEPT`` latents with the largest C stay, if it is at least ``LEAST``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.sparse import spans
from labeling.corpus import Corpus
from labeling.evidence import largest
from labeling.units import Units, build_views
from labeling.words import words_in

__all__ = ["Associations", "WordVectors", "associate"]

Associations = Mapping[str, tuple[tuple[int, float], ...]]
"""By word, its latents with their C, best first."""

WORDS = 10_000
"""Most words that are kept, the most frequent ones."""
PRIOR, LEAST, KEPT = 5.0, 0.3, 8
ALIKE = 6
RARE = 0.1
BLOCK = 512


class WordVectors(NamedTuple):
    """The model's own vectors of words that are single tokens.

    Attributes:
        places: Row of each folded word.
        rows: [words, d_model] unit vectors, after the mean over the vocabulary was subtracted.
    """

    places: dict[str, int]
    rows: np.ndarray

    @classmethod
    def of(cls, vocabulary: Sequence[str], unembed: np.ndarray, wanted: Iterable[str]) -> Self:
        """Finds the vectors of words.

        Args:
            vocabulary: The text of each token; that of one that begins a word begins with a space.
            unembed: [vocab, d_model]
            wanted: The words.
        """
        known: dict[str, int] = {}
        for token, text in enumerate(vocabulary):
            if text.startswith(" ") and len(found := words_in(text)) == 1:
                known.setdefault(found[0], token)
        tokens = {word: known[word] for word in wanted if word in known}
        rows = unembed[list(tokens.values())] - unembed.mean(axis=0)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return cls({word: row for row, word in enumerate(tokens)}, rows)


def associate(corpus: Corpus, vocabulary: Sequence[str] = (), unembed: np.ndarray | None = None) -> Associations:
    """The associations of the words of a corpus.

    Args:
        corpus: Documents with their activations.
        vocabulary: The text of each token of the model.
        unembed: [vocab, d_model] the model's unembedding; without it, no word is lent anything.
    """
    views = build_views(corpus, longest=1, min_documents=1)
    counts = np.asarray(views.sentences.terms.sum(axis=0)).ravel()
    chosen = np.sort(largest(counts, WORDS))
    names = [views.names[at] for at in chosen]
    lent = lending(names, WordVectors.of(vocabulary, unembed, names)) if unembed is not None else None
    shown = [Firing.of(units, chosen) for units in (views.sentences, views.requests) if len(units)]
    rarity = np.minimum(1.0, np.log(counts[chosen] / len(views.sentences)) / np.log(RARE))
    return dict(strongest(names, shown, rarity, lent))


def lending(names: Sequence[str], vectors: WordVectors) -> csc_matrix:
    """Step 3, [words, words]: what share of each word's A another one gets; its own is whole."""
    at = {name: i for i, name in enumerate(names)}
    columns = np.array([at[word] for word in vectors.places], dtype=np.int64)
    data, rows, found = [np.ones(len(names))], [np.arange(len(names))], [np.arange(len(names))]
    for start in range(0, len(columns), BLOCK):
        alike = vectors.rows[start : start + BLOCK] @ vectors.rows.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -1.0
        near = np.argpartition(-alike, min(ALIKE, alike.shape[1] - 1), axis=1)[:, :ALIKE]
        data.append(np.maximum(0.0, np.take_along_axis(alike, near, axis=1)).ravel())
        rows.append(np.repeat(columns[start : start + BLOCK], near.shape[1]))
        found.append(columns[near].ravel())
    shape = (len(names), len(names))
    return csc_matrix((np.concatenate(data), (np.concatenate(rows), np.concatenate(found))), shape=shape)


class Firing(NamedTuple):
    """Units with some of their words, and what step 1 needs of them.

    Attributes:
        terms: [units, words] 1 where the unit has the word, else 0.
        a: [units, d_sae] graded firing.
        mean: [d_sae] mean of a.
        scale: [d_sae] what a − mean is divided by.
    """

    terms: csr_matrix
    a: csc_matrix
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, units: Units, words: np.ndarray) -> Self:
        moments: list[tuple[np.ndarray, np.ndarray]] = []
        for start, stop in spans(units.firing.indptr):
            a = units.firing[:, start:stop]
            mean, square = (np.asarray(each.mean(axis=0)).ravel() for each in (a, a.multiply(a)))
            moments.append((mean, np.sqrt(np.maximum(0.0, square - mean**2))))
        mean, std = (np.concatenate(each) for each in zip(*moments, strict=True))
        return cls(units.terms[:, words], units.firing, mean, np.maximum(std + std.mean(), 1e-12))

    def go_with(self, words: np.ndarray, lent: csc_matrix | None) -> np.ndarray:
        """B of some words, [words, d_sae]."""
        prior = 1.0 / (np.asarray(self.terms.sum(axis=0)).ravel() + PRIOR)
        own = (
            self.terms[:, words].multiply(prior[words]) if lent is None else self.terms.multiply(prior) @ lent[words].T
        )
        total = np.asarray(own.sum(axis=0)).reshape(-1, 1)
        parts = [(own.T @ self.a[:, start:stop]).toarray() for start, stop in spans(self.a.indptr)]
        return (np.concatenate(parts, axis=1) - total * self.mean) / self.scale


def together(shown: Sequence[Firing], words: np.ndarray, lent: csc_matrix | None) -> np.ndarray:
    """B of some words over all kinds of units, [words, d_sae]."""
    return np.max([each.go_with(words, lent) for each in shown], axis=0)


def strongest(
    names: Sequence[str], shown: Sequence[Firing], rarity: np.ndarray, lent: csc_matrix | None
) -> Iterator[tuple[str, tuple[tuple[int, float], ...]]]:
    """Steps 1 to 5, some words at a time."""
    blocks = [np.arange(start, min(start + BLOCK, len(names))) for start in range(0, len(names), BLOCK)]
    # B is computed twice, since all of it at once would take a gigabyte for each 25,000 latents.
    mean = sum(together(shown, words, lent).sum(axis=0) for words in blocks) / len(names)
    for words in blocks:
        C = (together(shown, words, lent) - mean) * rarity[words, None]
        for word, row in zip(words.tolist(), C, strict=True):
            best = [(int(i), round(float(row[i]), 3)) for i in largest(row, KEPT) if row[i] >= LEAST]
            if best:
                yield names[word], tuple(best)
