"""Contexts against a naive twin, and the promise that nothing which scores a label was shown to its explainer."""

import asyncio
from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from featurehub.records import Context, Label, Unlabeled
from labeling import Corpus, LabelConfig, label_latents
from labeling.contexts import Contexts
from labeling.evidence import Evidence
from labeling.examiner import HeldOut, LabelScorer, Score
from labeling.explainer import Explainer, Explanation, FakeExplainer, Wants
from labeling.explainers import LlmExplainer, NgramExplainer, ProjectionExplainer
from labeling.label import LabelSource, label_each
from labeling.llm import Llm, LlmConfig
from labeling.scorers import WordDetection
from labeling.words import words_in
from tests.labeling.endpoint import Endpoint, good, questions_of
from tests.labels import parted

WINDOW = 4


def random_corpus(seed: int = 0, documents: int = 30, d_sae: int = 6) -> Corpus:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 11, documents)
    dense = np.where(random.random((lengths.sum(), d_sae)) < 0.1, random.random((lengths.sum(), d_sae)), 0.0)
    dense[:, 4], dense[:, 5] = 0.0, 1.0
    texts = [[f" d{at}t{token}" for token in range(length)] for at, length in enumerate(lengths)]
    return Corpus(texts, csr_matrix(dense.astype(np.float32)), np.concatenate([[0], np.cumsum(lengths)]))


def windows(corpus: Corpus, latent: int) -> list[Context]:
    """All windows, token by token."""
    column, found = corpus.matrix.toarray()[:, latent], []
    for at, document in enumerate(corpus.documents):
        for start in range(0, len(document), WINDOW):
            stop, begin = min(start + WINDOW, len(document)), corpus.offsets[at]
            values = tuple(float(x) for x in column[begin + start : begin + stop])
            found.append(Context(tokens=tuple(document[start:stop]), activations=values))
    return found


@pytest.mark.parametrize("latent", range(4))
def test_firing_contexts_come_from_every_part_of_the_peaks(latent: int) -> None:
    corpus = random_corpus()
    fires = sorted((each for each in windows(corpus, latent) if max(each.activations)), key=peak, reverse=True)
    drawn = Contexts(corpus, window=WINDOW).firing(latent, 4)
    places = [fires.index(each) for each in drawn]
    bounds = np.linspace(0, len(fires), 5).astype(int)
    assert places[0] == 0
    assert all(low <= place < high for low, place, high in zip(bounds, places, bounds[1:], strict=False))
    assert Contexts(corpus, window=WINDOW).firing(latent, 1000) == tuple(fires)


def peak(context: Context) -> float:
    return max(context.activations)


def test_a_least_peak_leaves_out_the_weaker_ones() -> None:
    contexts = Contexts(random_corpus(), window=WINDOW)
    every, strong = contexts.firing(0, 1000), contexts.firing(0, 1000, level=0.5)
    assert strong == tuple(each for each in every if peak(each) >= 0.5)
    assert 0 < len(strong) < len(every)


@pytest.mark.parametrize("latent", range(4))
def test_in_quiet_contexts_nothing_fires_and_near_misses_come_first(latent: int) -> None:
    corpus, other = random_corpus(), (latent + 1) % 4
    drawn = Contexts(corpus, window=WINDOW).quiet(latent, 10, alike=[other])
    assert len(drawn) == len(set(drawn)) == 10
    assert all(max(each.activations) == 0 for each in drawn)
    near = {each.tokens for each in windows(corpus, other) if max(each.activations)}
    assert all(each.tokens in near for each in drawn[:5])
    silent = {each for each in windows(corpus, latent) if not max(each.activations)}
    assert set(Contexts(corpus, window=WINDOW).quiet(latent, 1000)) == silent


def test_what_never_or_always_fires_has_what_there_is() -> None:
    contexts = Contexts(random_corpus(), window=WINDOW)
    assert (contexts.firing(4, 3), contexts.quiet(5, 3)) == ((), ())
    assert len(contexts.quiet(4, 3)) == len(contexts.firing(5, 3)) == 3


def test_the_draw_depends_on_seed_and_latent_alone() -> None:
    corpus = random_corpus()
    fresh, used = Contexts(corpus, 3, WINDOW), Contexts(corpus, 3, WINDOW)
    used.firing(0, 3), used.quiet(2, 3)
    assert (fresh.firing(1, 3), fresh.quiet(1, 3)) == (used.firing(1, 3), used.quiet(1, 3))
    others = [Contexts(corpus, seed, WINDOW).quiet(1, 3) for seed in range(5)]
    assert len(set(others)) > 1


class Spied(NamedTuple):
    """The explainer itself; keeps all evidence that it was given."""

    explainer: Explainer
    seen: list[Evidence]

    @property
    def method(self) -> str:
        return self.explainer.method

    @property
    def model(self) -> str:
        return self.explainer.model

    @property
    def at_once(self) -> int:
        return self.explainer.at_once

    @property
    def wants(self) -> Wants:
        return self.explainer.wants

    def prompt(self, evidence: Evidence) -> str:
        return self.explainer.prompt(evidence)

    async def explain(self, evidence: Evidence) -> Explanation:
        self.seen.append(evidence)
        found = await self.explainer.explain(evidence)
        return found._replace(outcome=parted("topic")) if isinstance(found.outcome, Unlabeled) else found


class EverythingScorer:
    """Looks at all that a scorer may look at."""

    name = "everything"

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        drawn = (*held_out.contexts.firing(evidence.latent, 99), *held_out.contexts.quiet(evidence.latent, 99))
        self.texts += [*held_out.texts, *(each.text for each in drawn)]
        return Score({"agreement": 1.0}, True, "")


class Greedy(FakeExplainer):
    """Reads all that there is."""

    wants = Wants(ngrams=True, contexts=1000)


def marked(corpus: Corpus) -> Corpus:
    """The sentences of each document begin with a word of its own."""
    documents = [
        [f" mark{at}" if piece == " the" else piece for piece in document]
        for at, document in enumerate(corpus.documents)
    ]
    return corpus._replace(documents=documents)


EXPLAINERS = (NgramExplainer(), ProjectionExplainer(), Greedy({}))


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda each: each.method)
def test_no_explainer_is_shown_what_its_labels_are_scored_on(corpus: Corpus, explainer: Explainer) -> None:
    spied, scorer = Spied(explainer, []), EverythingScorer()
    config = LabelConfig(min_ngram=1, longest=1, candidates=10_000)
    label_latents(marked(corpus), config, explainer=spied, scorer=scorer)
    shown, scored = marks(" ".join(map(str, spied.seen))), marks(" ".join(scorer.texts))
    assert len(scored) == 300
    assert shown or not explainer.wants.ngrams
    assert not shown & scored


def test_no_language_model_is_shown_what_its_labels_are_scored_on(corpus: Corpus) -> None:
    endpoint, scorer, config = Endpoint(good), EverythingScorer(), LabelConfig()

    async def labelled(url: str) -> int:
        async with Llm(LlmConfig(url=url, model="m")) as llm:
            labels = label_each(LabelSource(marked(corpus)), config, LlmExplainer(llm, contexts=1000), scorer)
            return len([latent async for latent, _ in labels])

    with endpoint.running() as url:
        assert asyncio.run(labelled(url)) > 0
    shown, scored = marks(" ".join(map(questions_of, endpoint.asked))), marks(" ".join(scorer.texts))
    assert len(scored) == 300
    assert len(shown) > 50
    assert not shown & scored


def marks(text: str) -> set[str]:
    return {word for word in words_in(text) if word.startswith("mark")}


def test_words_are_scored_on_held_out_passages_alone(corpus: Corpus) -> None:
    held_out = HeldOut(marked(corpus).subset(np.arange(50)))
    evidence = Evidence(0, 0.5, 9)
    score = asyncio.run(WordDetection().score(parted("mark7"), evidence, held_out))
    assert isinstance(score, Score)
    assert score.numbers["n"] == len(held_out.texts) == 50
    scorer: LabelScorer = WordDetection()
    assert scorer.name == "words"
