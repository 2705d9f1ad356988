"""Offline ways of naming latents: each gives words to every latent that it finds any for.

    product         the product's (``labeling.explainer``): n-grams that agree with the firing, and what it writes;
                    where none agrees clearly, mean tokens that are evidence
    contrastive     the former alone
    logit lens      the whole words that its steering vector promotes most
    mean tokens     the words on which it is most active in the mean
    peak tokens     the words on which its strongest activations lie
    log-odds        the words whose odds in sentences where it fires differ most from those in others, by their
                    z-score (Monroe, Colaresi and Quinn 2008, with a Dirichlet prior)
    tf-idf          the words that are frequent in sentences where it fires, and rare in all
    associated      the words that go with it in the index of the search (``labeling.associations``)

All get the same documents, and give the name and up to three further words (the product up to five), so that one scorer
can judge them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix

from featurehub.records import Label
from labeling.activity import WordActivity
from labeling.associations import associate
from labeling.corpus import Corpus
from labeling.evidence import Evidence, gather
from labeling.explainers import NgramExplainer
from labeling.label import LabelConfig
from labeling.logit_lens import Projection
from labeling.units import build_views
from labeling.words import find_words, join, words_in

__all__ = ["LABELLERS", "Shown"]

FURTHER = 3
PEAKS = 20
PRIOR = 5.0
FIRES = 0.5
CONFIG = LabelConfig()


class Shown(NamedTuple):
    """What a labeller may look at.

    Attributes:
        corpus: Documents with the activations that labels are made from.
        tokens: The same documents with the activations on single tokens.
        live: The latents to name.
        projection: What each of them writes.
        vocabulary: The text of each token of the model.
        unembed: [vocab, d_model] the model's unembedding.
    """

    corpus: Corpus
    tokens: Corpus
    live: Sequence[int]
    projection: Projection
    vocabulary: Sequence[str]
    unembed: np.ndarray


Labeller = Callable[[Shown], Mapping[int, Label]]


def product(shown: Shown) -> Mapping[int, Label]:
    return explained(evidences_of(shown))


def contrastive(shown: Shown) -> Mapping[int, Label]:
    return explained(each._replace(active=()) for each in evidences_of(shown))


def evidences_of(shown: Shown) -> Iterator[Evidence]:
    sizes = CONFIG.longest, CONFIG.min_ngram, CONFIG.candidates
    return gather(shown.corpus, shown.live, shown.projection, *sizes, shown.tokens)


def explained(evidences: Iterable[Evidence]) -> Mapping[int, Label]:
    explainer = NgramExplainer(FURTHER)
    outcomes = {each.latent: asyncio.run(explainer.explain(each)).outcome for each in evidences}
    return {latent: outcome for latent, outcome in outcomes.items() if isinstance(outcome, Label)}


def logit_lens(shown: Shown) -> Mapping[int, Label]:
    return named({latent: promoted(shown, latent) for latent in shown.live})


def promoted(shown: Shown, latent: int) -> list[str]:
    """Only tokens that begin a word: the rest of one is not a word."""
    begin = [words_in(each.token) for each in shown.projection.top[latent] if each.token.startswith(" ")]
    return [words[0] for words in begin if len(words) == 1]


def mean_tokens(shown: Shown) -> Mapping[int, Label]:
    words = [word for word, count in Counter(words_of(shown.tokens)[0]).items() if count >= CONFIG.min_ngram]
    latents = range(shown.tokens.matrix.get_shape()[1])
    return named(best_words(words, WordActivity(shown.tokens, words).means(latents), shown.live))


def words_of(corpus: Corpus) -> tuple[list[str], list[int]]:
    """All words in their order, and the row of the token in which each begins."""
    words: list[str] = []
    rows: list[int] = []
    for offset, pieces in zip(corpus.offsets.tolist(), corpus.pieces, strict=False):
        found = find_words(pieces)
        words += found.words
        rows += (offset + found.tokens).tolist()
    return words, rows


def peak_tokens(shown: Shown) -> Mapping[int, Label]:
    words, rows = words_of(shown.tokens)
    word_at = dict(zip(rows, words, strict=True))
    columns = csc_matrix(shown.tokens.matrix)
    found: dict[int, list[str]] = {}
    for latent in shown.live:
        own = slice(columns.indptr[latent], columns.indptr[latent + 1])
        order = np.argsort(np.negative(columns.data[own]), kind="stable")
        strongest = columns.indices[own][order].tolist()
        peaks = [word_at[row] for row in strongest if row in word_at][:PEAKS]
        found[latent] = [word for word, _ in Counter(peaks).most_common()]
    return named(found)


def log_odds(shown: Shown) -> Mapping[int, Label]:
    names, inside, everywhere = sentence_counts(shown)
    outside = everywhere - inside
    prior = PRIOR * everywhere / everywhere.mean()
    total_in, total_out, total_prior = inside.sum(axis=0), outside.sum(axis=0), prior.sum()
    y, n = inside + prior, outside + prior
    odds = np.log(y / (total_in + total_prior - y)) - np.log(n / (total_out + total_prior - n))
    return named(best_words(names, odds / np.sqrt(1 / y + 1 / n), shown.live))


def tf_idf(shown: Shown) -> Mapping[int, Label]:
    names, inside, everywhere = sentence_counts(shown)
    frequency = inside / np.maximum(1, inside.sum(axis=0))
    return named(best_words(names, frequency * np.log(everywhere.max() / everywhere), shown.live))


def sentence_counts(shown: Shown) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Words; [words, d_sae] sentences that have them and in which the latent fires; [words, 1] all that have them."""
    views = build_views(shown.corpus, longest=1, min_documents=CONFIG.min_ngram)
    terms = views.sentences.terms
    fires = views.sentences.firing.copy()
    fires.data = (fires.data >= FIRES).astype(np.float32)
    return views.names, (terms.T @ fires).toarray(), np.asarray(terms.sum(axis=0)).reshape(-1, 1)


def associated(shown: Shown) -> Mapping[int, Label]:
    going: defaultdict[int, list[tuple[float, str]]] = defaultdict(list)
    for word, latents in associate(shown.corpus, shown.vocabulary, shown.unembed).items():
        for latent, much in latents:
            going[latent].append((-much, word))
    return named({latent: [word for _, word in sorted(going[latent])] for latent in shown.live})


def best_words(names: list[str], scores: np.ndarray, latents: Sequence[int]) -> dict[int, list[str]]:
    """The words with the highest positive scores of each latent, best first; ``scores`` is [words, d_sae]."""
    best = np.argsort(-scores, axis=0, kind="stable")[: FURTHER + 1]
    return {latent: [names[at] for at in best[:, latent].tolist() if scores[at, latent] > 0] for latent in latents}


def named(words: Mapping[int, Sequence[str]]) -> dict[int, Label]:
    """Labels of the first words of each latent, as often as they differ."""
    folded = {latent: list(dict.fromkeys(join(words_in(each)) for each in own)) for latent, own in words.items()}
    return {latent: Label(name=own[0], further=tuple(own[1 : FURTHER + 1])) for latent, own in folded.items() if own}


LABELLERS: dict[str, Labeller] = {
    "product": product,
    "contrastive": contrastive,
    "logit lens": logit_lens,
    "mean tokens": mean_tokens,
    "peak tokens": peak_tokens,
    "log-odds": log_odds,
    "tf-idf": tf_idf,
    "associated": associated,
}
