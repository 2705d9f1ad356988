"""The evidence that an explainer is given on each latent: n-grams that agree with its firing, words it is active on.

1. Agreement of an n-gram w with a latent in one view of the corpus (``labeling.units``), over N units with graded
   firing a, is Cohen's kappa:

       f = Σ a / N,   g = |{u: w in u}| / N,   both = Σ_{u has w} a / N
       kappa = 2 (both − f g) / (f + g − 2 f g)

   It is 0 for a word that occurs as often with firing as without, whatever its frequency, so it needs no list of stop
   words; and unlike a log-odds ratio it asks for coverage as much as for precision, so that the name of a concept,
   said now and then in all of its texts, beats a word that is certain but rare.
2. Inside = the mean of kappa over passages and over sentences: words of what the latent fires on.
3. Before = kappa over requests: words that announce it. People call a thing by its name when they ask for it.
4. Agreement = the mean of inside and before. It is inside alone where no document has more than one part, and where
   inside is at least ``ITSELF``: such a word is not a sign of what the latent fires on, but the thing itself.
5. Long units hold more words and more firing than short ones, whatever both are about, so the words that stand
   everywhere agree a little with nearly every latent. An n-gram that agrees by less than ``CLEARLY`` is no evidence if
   the odds that the latent fires are in its sentences less than ``ODDS`` times those in all, or if it has several words
   and each of them stands in ``EVERYWHERE`` of the passages:

       p = (Σ_{u has w} a + PRIOR f) / (|{u: w in u}| + PRIOR),   odds ratio = p (1 − f) / ((1 − p) f)

6. The words on which it is most active in the mean (``labeling.activity``), of those that are evidence by step 5. Most
   latents of a real model have no name that agrees clearly: they fire on words of one meaning or use ("should", "must",
   "need"), which such a list shows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix

from featurehub.records import Context, TokenLogit
from featurehub.sparse import columns_of
from labeling.activity import WordActivity
from labeling.corpus import Corpus, peak_levels, pool
from labeling.cutting import cut
from labeling.logit_lens import Projection
from labeling.units import STRONG, Units, Views, build_views
from labeling.words import words_in

__all__ = ["Evidence", "NGram", "common_words", "gather", "outline"]

BLOCK = 128
ITSELF = 0.8
EVERYWHERE, CLEARLY, ODDS, PRIOR = 0.2, 0.5, 3.0, 3.0
NO_EVIDENCE = -1.0
ACTIVE = 12
"""Words of step 6."""


class NGram(NamedTuple):
    """An n-gram and how well it goes with a latent.

    Attributes:
        text: The folded words, joined.
        agreement: Step 4 of this module, in [-1, 1]; 0 is chance.
        passages: How many passages have it.
        firing: In how many of these passages the latent fires; a weak firing counts as a fraction.
    """

    text: str
    agreement: float
    passages: int
    firing: float


class Evidence(NamedTuple):
    """What an explainer is given on one latent.

    Attributes:
        latent: Index in the SAE.
        level: Activation from which the latent counts as firing.
        passages: How many passages it fires in.
        ngrams: The n-grams that agree with it and tell something (step 5), best agreement first.
        active: The words of step 6, most active first.
        top_tokens: The tokens that its decoder row promotes, strongest first; empty without a projection.
        bottom_tokens: The tokens that its decoder row suppresses, strongest first; empty without a projection.
        contexts: Stretches of text in which it fires, strongest first (``labeling.contexts``).
    """

    latent: int
    level: float
    passages: int
    ngrams: tuple[NGram, ...] = ()
    active: tuple[str, ...] = ()
    top_tokens: tuple[TokenLogit, ...] = ()
    bottom_tokens: tuple[TokenLogit, ...] = ()
    contexts: tuple[Context, ...] = ()


def outline(corpus: Corpus, latents: Sequence[int], projection: Projection | None = None) -> Iterator[Evidence]:
    """The evidence on latents without any words: where they fire, and what they write.

    Args:
        corpus: Documents that the explainer may see.
        latents: Indices in the SAE.
        projection: What each latent writes.

    Yields:
        The evidence on each latent, in the order of ``latents``.
    """
    pieces = cut(corpus)
    peaks = pool(columns_of(corpus.matrix), pieces.passage_of, len(pieces.texts))
    strong = peak_levels(peaks, STRONG)
    for latent in latents:
        yield outlined(latent, peaks, strong, projection)


def outlined(latent: int, peaks: csc_matrix, strong: np.ndarray, projection: Projection | None) -> Evidence:
    level = float(strong[latent] / 2)
    passages = int((peaks[:, [latent]].data >= level).sum())
    top, bottom = ((), ()) if projection is None else (projection.top[latent], projection.bottom[latent])
    return Evidence(latent, level, passages, top_tokens=top, bottom_tokens=bottom)


def gather(
    corpus: Corpus,
    latents: Sequence[int],
    projection: Projection | None = None,
    longest: int = 3,
    min_documents: int = 3,
    count: int = 40,
    tokens: Corpus | None = None,
) -> Iterator[Evidence]:
    """Gathers the evidence on latents.

    Args:
        corpus: Documents that the explainer may see.
        latents: Indices in the SAE.
        projection: What each latent writes.
        longest: Words of the longest n-gram.
        min_documents: Documents that an n-gram must occur in.
        count: N-grams that each latent gets.
        tokens: The same documents with the activations on single tokens, where those of ``corpus`` are others.

    Yields:
        The evidence on each latent, in the order of ``latents``.
    """
    views = build_views(corpus, longest, min_documents)
    telling = ~idle_ngrams(views)
    single = np.array([at for at, name in enumerate(views.names) if len(words_in(name)) == 1], dtype=np.int64)
    activity = WordActivity(tokens or corpus, [views.names[at] for at in single])
    for start in range(0, len(latents), BLOCK):
        block = list(latents[start : start + BLOCK])
        agreement = agree(views, block)
        evident = (agreement >= CLEARLY) | (telling[:, None] & (odds_ratio(views.sentences, block) >= ODDS))
        active = most_active(views.names, single, np.where(evident[single], activity.means(block), 0.0))
        for each, words in zip(gather_block(views, agreement, evident, block, projection, count), active, strict=True):
            yield each._replace(active=words)


def most_active(names: list[str], single: np.ndarray, means: np.ndarray) -> Iterator[tuple[str, ...]]:
    """Step 6 for each latent; ``means`` is [words, latents], of the words whose indices are ``single``."""
    for column in means.T:
        best = largest(column, ACTIVE)
        yield tuple(names[single[at]] for at in best.tolist() if column[at] > 0)


def gather_block(
    views: Views,
    agreement: np.ndarray,
    evident: np.ndarray,
    latents: list[int],
    projection: Projection | None,
    count: int,
) -> Iterator[Evidence]:
    agreement = np.where(evident, agreement, NO_EVIDENCE)
    terms = views.passages.terms
    firing = (terms.T @ views.passages.firing[:, latents]).toarray()
    frequency = np.asarray(terms.sum(axis=0)).ravel()
    for at, latent in enumerate(latents):
        best = largest(agreement[:, at], count).tolist()
        ngrams = tuple(
            NGram(views.names[w], float(agreement[w, at]), int(frequency[w]), float(firing[w, at]))
            for w in best
            if evident[w, at]
        )
        yield outlined(latent, views.peaks, views.strong, projection)._replace(ngrams=ngrams)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the largest values, best first; among equals the first. The other values are not sorted."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")[:count]]


def agree(views: Views, latents: list[int]) -> np.ndarray:
    """Steps 2 to 4, [n-grams, latents]."""
    inside = (kappa(views.passages, latents) + kappa(views.sentences, latents)) / 2
    if not len(views.requests):
        return inside
    return np.where(inside >= ITSELF, inside, (inside + kappa(views.requests, latents)) / 2)


def idle_ngrams(views: Views) -> np.ndarray:
    """Which n-grams have several words, all of which stand everywhere, [n-grams] bool."""
    everywhere = set(common_words(views))
    parts = [words_in(name) for name in views.names]
    return np.array([len(words) > 1 and everywhere.issuperset(words) for words in parts], dtype=bool)


def common_words(views: Views) -> list[str]:
    """The words that ``EVERYWHERE`` of the passages have: they tell little of what a text is about."""
    share = np.asarray(views.passages.terms.sum(axis=0)).ravel() / max(1, len(views.passages))
    often = [name for name, each in zip(views.names, share, strict=True) if each >= EVERYWHERE]
    return [name for name in often if len(words_in(name)) == 1]


def odds_ratio(units: Units, latents: list[int]) -> np.ndarray:
    """Step 5, [n-grams, latents]; 0 for a latent that does not fire, infinite where it always does."""
    fires = units.firing[:, latents]
    f = np.asarray(fires.sum(axis=0)).reshape(1, -1) / max(1, len(units))
    counts = np.asarray(units.terms.sum(axis=0)).reshape(-1, 1)
    p = ((units.terms.T @ fires).toarray() + PRIOR * f) / (counts + PRIOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(p * (1 - f) / ((1 - p) * f), nan=0.0, posinf=np.inf)


def kappa(units: Units, latents: list[int]) -> np.ndarray:
    """Step 1, [n-grams, latents]; 0 for an n-gram or a latent that occurs in no unit or in all of them."""
    fires = units.firing[:, latents]
    f = np.asarray(fires.sum(axis=0)).reshape(1, -1) / len(units)
    g = np.asarray(units.terms.sum(axis=0)).reshape(-1, 1) / len(units)
    both = (units.terms.T @ fires).toarray() / len(units)
    unlike = f + g - 2 * f * g
    return np.where(unlike > 0, 2 * (both - f * g) / np.where(unlike > 0, unlike, 1.0), 0.0)
