"""Grades of all names at once, against one name and one word at a time."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from featurehub.names import base_of, fold, head_of, words_of
from featurehub.store.grading import ALIKE, ALIKE_FROM, BASE, FURTHER, PREFIX, WORD, grades


def naive(query: Sequence[str], name: str, weight: Callable[[str], float]) -> float:
    words = words_of(name)
    if tuple(query) == words:
        return 1.0
    if tuple(query) == words_of(base_of(name)):
        return BASE
    if not query or not words:
        return 0.0
    head = words_of(head_of(name))
    graded = sum(weight(word) * of_word(word, head, words) for word in query) / sum(map(weight, query))
    return graded * (0.9 + 0.1 * min(1.0, len(query) / len(words)))


def of_word(word: str, head: Sequence[str], name: Sequence[str]) -> float:
    if word in head:
        return WORD
    if any(each.startswith(word) for each in head):
        return PREFIX
    if any(each.startswith(word) for each in name):
        return FURTHER
    likeness = max(fuzz.ratio(word, each) for each in name)
    return ALIKE * likeness / 100 if likeness >= ALIKE_FROM else 0.0


def rarity(names: Iterable[Sequence[str]]) -> Callable[[str], float]:
    counts = Counter(chain.from_iterable(set(name) for name in names))
    total = sum(counts.values())
    return lambda word: math.log(2 + total / (1 + counts[word]))


WORDS = st.sampled_from(("bank", "banking", "banker", "loan", "loans", "of", "pirate", "pirat", "straße", "a"))
MARKS = st.sampled_from((" ", ": ", ", ", " (", ") ", "-", "  "))
NAMES = st.lists(st.tuples(WORDS, MARKS), max_size=5).map(lambda parts: "".join(w + m for w, m in parts).strip())


@given(query=st.lists(WORDS, max_size=4), names=st.lists(NAMES, max_size=8))
def test_every_name_is_graded_as_it_is_alone(query: list[str], names: list[str]) -> None:
    folded, asked = [fold(name) for name in names], words_of(" ".join(query))
    weight = rarity(words_of(name) for name in folded)
    assert grades(asked, folded) == pytest.approx([naive(asked, name, weight) for name in folded], abs=1e-6)


def test_what_a_query_has_to_do_with_names() -> None:
    names = ["banking", "banking (loan)", "banking: loan", "bankings", "play: banking", "bank", "weather", ""]
    found = grades(("banking",), names)
    assert found[:2] == [1.0, BASE]
    assert sorted(found, reverse=True) == found
    assert found[-2:] == [0.0, 0.0]
