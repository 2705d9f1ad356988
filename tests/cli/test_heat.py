"""The map of an answer's words and their features."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from featurehub.cli.demo.heat import KnownFeature, Word, heat_map, words
from featurehub.records import Label
from tests.labels import parted

A, B, C = map(parted, "abc")
KNOWN = {"a": KnownFeature(A, 4.0), "b": KnownFeature(B, 0.5), "c": KnownFeature(C, 0.0)}
DOGS, THEY, CAN = map(parted, ("animals: dogs", "they", "can: may"))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([("The", {"a": 1.0}), (" sea", {"b": 0.5})], [("The", {A: 0.25}), ("sea", {B: 1.0})]),
        ([(" wa", {"a": 1.0}), ("ter", {"a": 3.0, "b": 0.1}), (".", {})], [("water.", {A: 0.75, B: 0.2})]),
        ([("\n", {"a": 1.0}), ("One", {"b": 0.6})], [("One", {A: 0.25, B: 1.2})]),
        ([("It", {"": 1.0, "c": 1.0, "unknown": 1.0})], [("It", {})]),
        ([], []),
    ],
)
def test_words_are_whole_and_have_the_largest_share_of_their_tokens(
    tokens: Sequence[tuple[str, dict[str, float]]], expected: list[tuple[str, dict[Label, float]]]
) -> None:
    given = [
        {"token": text, "features": [{"id": n, "activation": v} for n, v in found.items()]} for text, found in tokens
    ]
    assert list(words(given, KNOWN)) == expected


ANSWER = [
    Word("Dogs", {DOGS: 0.8, THEY: 0.2}),
    Word("can", {CAN: 0.9, DOGS: 0.1}),
    Word("be", {}),
    Word("loyal", {THEY: 0.3, DOGS: 0.25}),
]


def drawn(width: int, answer: Sequence[Word] = ANSWER) -> str:
    terminal = Console(file=io.StringIO(), width=width, record=True)
    terminal.print(heat_map(answer, "an answer", width))
    return terminal.export_text()


def heads(width: int) -> list[str]:
    return [str(column.header).partition("\n")[0] for column in heat_map(ANSWER, "an answer", width).columns]


def test_across_stand_the_strongest_of_each_word_in_the_order_of_the_words() -> None:
    lines = drawn(60).splitlines()
    assert lines[0].strip() == "an answer"
    assert heads(60) == ["", "animals", "can", "they"]
    assert [line.split() for line in lines if line.startswith(tuple(word.text for word in ANSWER))] == [
        ["Dogs", "80%", "20%"],
        ["can", "10%", "90%"],
        ["be"],
        ["loyal", "25%", "30%"],
    ]
    assert max(map(len, lines)) <= 60


def test_where_there_is_no_room_for_all_those_with_the_largest_shares_stand_there() -> None:
    assert heads(32) == ["", "animals", "can"]
    assert heads(10) == ["", "can"]


def test_an_answer_without_features_has_its_words() -> None:
    assert "Well" in drawn(40, [Word("Well", {})])
