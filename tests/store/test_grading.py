"""Grades of all names at once, against one name and one word at a time."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from featurehub.names import fold, words_of
from featurehub.records import Label
from featurehub.store.grading import ALIKE, ALIKE_FROM, BASE, FURTHER, PREFIX, WORD, PartedName, grades
from featurehub.store.names import NameKind
from featurehub.store.naming import names_from
from tests.labels import parted


def naive(query: Sequence[str], label: Label, weight: Callable[[str], float]) -> float:
    words = words_of(label.text)
    if tuple(query) == words:
        return 1.0
    if tuple(query) == words_of(label.name):
        return BASE
    if not query or not words:
        return 0.0
    graded = sum(weight(word) * of_word(word, words_of(label.head), words) for word in query) / sum(map(weight, query))
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
NAMES = st.lists(WORDS, min_size=1, max_size=3).map("-".join) | st.sampled_from(("bank: loans (of a)", "(2)", "…"))
LABELS = st.builds(
    Label, name=NAMES, qualifier=st.sampled_from(("", "2", "loan", "Straße")), further=st.lists(NAMES, max_size=3)
)


def all_begin(query: Sequence[str], head: Sequence[str]) -> bool:
    return all(any(each.startswith(word) for each in head) for word in query)


def written(label: Label) -> PartedName:
    """A label's text as it is written for search."""
    [claim] = [each for each in names_from({"f": label}) if each.kind is NameKind.LABEL]
    return PartedName(fold(claim.name), claim.name_words, claim.head_words)


@given(query=st.lists(WORDS, max_size=4), labels=st.lists(LABELS, max_size=8))
def test_every_name_is_graded_as_its_label_is_alone(query: list[str], labels: list[Label]) -> None:
    asked, weight = words_of(" ".join(query)), rarity(words_of(each.text) for each in labels)
    wanted = [naive(asked, each, weight) for each in labels]
    graded = grades(asked, list(map(written, labels)))
    assert [each.relevance for each in graded] == pytest.approx(wanted, abs=1e-6)
    assert [each.holds for each in graded] == [bool(asked) and all_begin(asked, words_of(each.head)) for each in labels]


def test_what_a_query_has_to_do_with_names() -> None:
    names = ["banking", "banking (loan)", "banking: loan", "bankings", "play: banking", "bank", "weather"]
    graded = grades(("banking",), [*(written(parted(each)) for each in names), PartedName("", 0, 0)])
    found = [each.relevance for each in graded]
    assert found[:2] == [1.0, BASE]
    assert sorted(found, reverse=True) == found
    assert found[-2:] == [0.0, 0.0]


def test_signs_in_a_name_that_was_given_as_a_whole_mean_nothing() -> None:
    whole, part = written(Label(name="Note: mentions of dates")), written(parted("note: mentions of dates"))
    note, dates = (grades((each,), [whole, part]) for each in ("note", "dates"))
    assert note[1].relevance == BASE > note[0].relevance
    assert dates[0].relevance > dates[1].relevance, "it is in the name, not after it"
    assert [each.holds for each in dates] == [True, False]
