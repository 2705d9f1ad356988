"""The judge that needs no model: words of the label, and text that is still text."""

from collections.abc import Sequence

import numpy as np
import pytest

from featurehub.records import Label
from labeling.judge import WordJudge
from tests.labels import parted

LABEL = parted("pirate speech: matey, ship, treasure")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a pirate speech is long .", True),
        ("the ship has a treasure .", True),
        ("ahoy MATEY , the Ship is here", True),
        ("the ship is here .", True),
        ("the shipment is here .", False),
        ("nothing of it .", False),
        ("", False),
    ],
)
def test_a_text_shows_a_label_whose_words_it_uses(text: str, shown: bool) -> None:
    judge = WordJudge()
    assert judge.mentions(LABEL, [text]).tolist() == [shown]
    assert judge.shows(LABEL, [text]).tolist() == [shown]


@pytest.mark.parametrize(
    ("text", "coherent"),
    [
        ("the cat sat on the mat and slept .", True),
        ("one two three four five", True),
        ("one two three four", False),
        ("", False),
        ("loan loan loan loan loan loan loan loan", False),
        ("the loan is the loan is the loan is the loan is", False),
    ],
)
def test_text_that_is_too_short_or_repeats_itself_is_not_coherent(text: str, coherent: bool) -> None:
    assert WordJudge().coherent([text]).tolist() == [coherent]


def test_text_of_made_up_words_is_not_coherent() -> None:
    judge = WordJudge(vocabulary=frozenset(["the", "cat", "sat", "on", "mat", "and", "slept"]))
    texts = ["the cat sat on the mat and slept .", "the cat norlled on the mat and slept", "the dog runs to the door"]
    assert judge.coherent(texts).tolist() == [True, False, False]
    assert WordJudge().coherent(texts).all()


def test_verdicts_are_one_bool_per_text_and_none_of_none() -> None:
    judge = WordJudge()
    for verdicts in (judge.shows(LABEL, ["a", "b"]), judge.coherent(["a", "b"])):
        assert verdicts.shape == (2,)
        assert verdicts.dtype == bool
    assert judge.shows(LABEL, []).shape == judge.coherent([]).shape == (0,)


def test_another_scorer_can_take_the_words_place() -> None:
    class Half:
        def scores(self, label: Label, texts: Sequence[str]) -> np.ndarray:
            return np.array([0.49, 0.5, 1.0])

    assert WordJudge(Half()).mentions(parted("anything"), ["a", "b", "c"]).tolist() == [False, True, True]


def test_other_texts_are_judged_afresh() -> None:
    judge = WordJudge()
    assert judge.shows(LABEL, ["the pirate speech"]).tolist() == [True]
    assert judge.shows(LABEL, ["nothing"]).tolist() == [False]
