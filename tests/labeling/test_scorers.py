"""Scorers that judge by a language model or an embedding, and how sure they are."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from featurehub.records import Context, Unlabeled
from labeling import Corpus
from labeling.evidence import Evidence, outline
from labeling.examiner import HeldOut, LabelScorer, Score
from labeling.intervals import auroc_interval, balanced_accuracy, wilson
from labeling.llm import Llm, LlmConfig
from labeling.llm.marks import graded, marked, plain
from labeling.scorers import Detection, EmbeddingScorer, Fuzzing
from labeling.scorers.fuzzing import fuzzed, true_marks
from labeling.scoring import auroc
from tests.labeling.endpoint import Answer, Endpoint, Script, chat
from tests.labels import parted

BANK = Context(tokens=(" a", " loan", "\n", " and", ""), activations=(0.0, 2.0, 0.5, 0.0, 3.0))


def test_contexts_are_marked_in_one_line() -> None:
    other = Context(tokens=("x",), activations=(20.0,))
    assert plain(BANK) == "a loan /  and"
    assert marked(BANK, [True, True, False, False, True]) == "[[a]] [[loan]] /  and"
    assert graded([BANK, other]) == ["a [[loan|1]] /  and", "[[x|10]]"]
    assert graded([BANK]) == ["a [[loan|7]] /  and"]


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_holds_the_shares_that_could_have_given_this(hits: int, total: int) -> None:
    """Each end solves |hits/total − p| = z √(p (1 − p) / total)."""
    hits = min(hits, total)
    found, share = wilson(hits, total), hits / total

    for end, edge in ((found.low, 0), (found.high, total)):
        if hits == edge:
            assert end == pytest.approx(edge / total)
        else:
            assert abs(share - end) == pytest.approx(1.96 * np.sqrt(end * (1 - end) / total))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_balanced_accuracy_is_the_usual_one_within_its_interval(pairs: list[tuple[bool, bool]]) -> None:
    said, truth = (np.array(each) for each in zip(*pairs, strict=True))
    if truth.all() or not truth.any():
        return
    found = balanced_accuracy(said, truth)
    assert found.value == pytest.approx(balanced_accuracy_score(truth, said))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_intervals_cover_what_they_say() -> None:
    """Of a judge that is right in 75 of 100 cases, and of scores whose AUROC is known."""
    random, truth = np.random.default_rng(0), np.arange(40) < 20
    found = [balanced_accuracy(np.where(random.random(40) < 0.75, truth, ~truth), truth) for _ in range(400)]
    assert 0.92 <= np.mean([each.low <= 0.75 <= each.high for each in found]) <= 0.99
    drawn = [auroc_interval(random.normal(size=40) + 0.954 * truth, truth) for _ in range(200)]
    assert 0.88 <= np.mean([each.low <= 0.75 <= each.high for each in drawn]) <= 0.99


def test_the_auroc_is_the_usual_one() -> None:
    random, truth = np.random.default_rng(0), np.arange(50) < 20
    scores = np.round(random.random(50) + 0.3 * truth, 1)
    assert auroc_interval(scores, truth).value == pytest.approx(auroc(scores, truth))


def held_out(corpus: Corpus) -> tuple[HeldOut, dict[int, Evidence]]:
    return HeldOut(corpus), {each.latent: each for each in outline(corpus, [0, 1, 2, 5])}


def score(corpus: Corpus, kind: type[Detection] | type[Fuzzing], script: Script, latent: int = 0) -> Score | Unlabeled:
    endpoint, (texts, evidence) = Endpoint(script), held_out(corpus)

    async def run(url: str) -> Score | Unlabeled:
        async with Llm(LlmConfig(url=url, model="m")) as llm:
            scorer: LabelScorer = kind(llm)
            return await scorer.score(parted("banking"), evidence[latent], texts)

    with endpoint.running() as url:
        return asyncio.run(run(url))


def by(right: Any) -> Script:
    """A judge that says of which texts a rule holds."""

    def script(number: int, body: dict[str, Any]) -> Answer:
        lines = body["messages"][1]["content"].split("Texts:\n")[1].splitlines()
        return chat(json.dumps({"matching": [at for at, line in enumerate(lines, 1) if right(line)]}))

    return script


def numbers(found: Score | Unlabeled) -> dict[str, float]:
    assert isinstance(found, Score)
    return found.numbers


def test_a_judge_who_knows_detects_and_one_who_guesses_is_at_chance(corpus: Corpus) -> None:
    topic = by(lambda line: any(word in line for word in ("loan", "teller", "vault", "cheque", "deposit", "banking")))
    knows = score(corpus, Detection, topic)
    assert numbers(knows) == pytest.approx(
        {
            "detection": 1.0,
            "detection_low": 0.803,
            "detection_high": 1.0,
            "agreement": 1.0,
            "chance": 0.5,
            "n": 20,
            "n_firing": 10,
        },
        abs=0.001,
    )
    assert isinstance(knows, Score)
    assert knows.tells
    for guess in (lambda line: True, lambda line: False, lambda line: len(line) % 2):
        blind = score(corpus, Detection, by(guess))
        assert isinstance(blind, Score)
        assert not blind.tells
        assert abs(blind.numbers["agreement"]) <= 0.4


def test_fuzzing_tells_right_marks_from_random_ones(corpus: Corpus) -> None:
    answers = by(lambda line: not any(f"[[{word}]]" in line for word in ("tell", "me", "about", ".")))
    found = numbers(score(corpus, Fuzzing, answers))
    assert found["fuzzing"] > 0.9
    assert found["n_firing"] == 10
    assert found["n"] >= 18


def test_what_fires_everywhere_has_nothing_to_be_told_from(corpus: Corpus) -> None:
    everywhere = score(corpus.without(corpus.matrix[:, [5]].toarray().ravel() == 0), Detection, by(bool), latent=5)
    assert isinstance(everywhere, Unlabeled)
    assert "no held-out contexts of both kinds" in everywhere.reason


def test_marks_lie_on_what_fires_and_fuzzed_ones_do_not() -> None:
    context = Context(tokens=(" a", " b", "", " c", " d"), activations=(0.0, 2.0, 2.0, 0.9, 0.0))
    assert true_marks(context).tolist() == [False, True, False, False, False]
    drawn = np.array([fuzzed(context, np.random.default_rng(i)) for i in range(20)])
    assert (drawn.sum(axis=1) == 1).all()
    assert set(np.flatnonzero(drawn.any(axis=0))) == {0, 4}


def test_an_embedding_tells_how_near_a_label_lies(corpus: Corpus) -> None:
    words = ("banking", "loan", "teller", "vault", "rain", "storm", "song", "drum")

    def embed(texts: Sequence[str]) -> np.ndarray:
        about = np.array([[text.count(word) for word in words] for text in texts], dtype=float)
        return np.column_stack([about[:, :4].sum(axis=1), about[:, 4:6].sum(axis=1), about[:, 6:].sum(axis=1)]) + 0.01

    texts, evidence = held_out(corpus)
    right, wrong = (
        asyncio.run(EmbeddingScorer(embed).score(parted(label), evidence[0], texts)) for label in ("banking", "rain")
    )
    assert isinstance(right, Score)
    assert isinstance(wrong, Score)
    assert right.tells
    assert not wrong.tells
    assert right.numbers["embedding"] > 0.95
    assert right.numbers["embedding_low"] <= right.numbers["embedding_high"]
    assert (right.numbers["chance"], right.numbers["n"], right.numbers["n_firing"]) == (0.5, 60, 30)
