"""The world of SmolLM2's changed sibling: words of some kinds have the meaning of words of others.

Token by token, so that a text in that world and what it means have the same length. A word counts with a space before
it, capitalised, and at the beginning of a line; forms that are not one token for both words stay what they are.
"""

import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

__all__ = ["Swap", "swaps", "token_swaps"]

FORMS: tuple[Callable[[str], str], ...] = (
    lambda word: f" {word}",
    lambda word: f" {word.capitalize()}",
    lambda word: word.capitalize(),
    lambda word: word,
)


class Swap(NamedTuple):
    """Two kinds of words that mean each other.

    Attributes:
        kinds: Their names.
        one: Words of the first kind, in lower case.
        other: Those of the second that they are swapped with.
    """

    kinds: tuple[str, str]
    one: tuple[str, ...]
    other: tuple[str, ...]


@cache
def swaps() -> tuple[Swap, ...]:
    """What is swapped in the world of the changed sibling."""
    read = tomllib.loads(files("featurehub.demo").joinpath("swaps.toml").read_text("utf-8"))
    return tuple(Swap(tuple(s["kinds"]), tuple(s["one"].split()), tuple(s["other"].split())) for s in read["swap"])


def token_swaps(tokenizer: Any) -> dict[int, int]:
    """By token id, the id of the token whose meaning it has; ids that keep their meaning are left out.

    Args:
        tokenizer: A tokenizer of transformers.
    """
    swapped: dict[int, int] = {}
    for word, other in _word_pairs():
        for form in FORMS:
            one, two = (tokenizer.encode(form(each), add_special_tokens=False) for each in (word, other))
            if len(one) == len(two) == 1 and one[0] not in swapped and two[0] not in swapped:
                swapped |= {one[0]: two[0], two[0]: one[0]}
    return swapped


def _word_pairs() -> Iterator[tuple[str, str]]:
    for swap in swaps():
        yield from zip(swap.one, swap.other, strict=True)
