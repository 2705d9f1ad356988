"""The features that a search may show, and why."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from featurehub.features import Found
from featurehub.store.fuse import Meant

__all__ = ["Hit", "found_by"]


class Hit(NamedTuple):
    """A feature that a search may show.

    Attributes:
        source: How it was found: "name", "word", "text" or "exact".
        id: Its id.
        label_score: Its label's score; None where it was not scored.
        steerability: Its steerability, or the one that is expected of it; None where neither is known.
        name: The name or word that it was found by, folded; None where it was found by its text, or all are listed.
        goes: How much it goes with that word; None where it was found otherwise.
        name_words, head_words: Of a name that has words of the query: how many of its first words are the name of its
            label, and its head.
    """

    source: str
    id: str
    label_score: float | None
    steerability: float | None
    name: str | None
    goes: float | None
    name_words: int = 0
    head_words: int = 0


def found_by(hits: Iterable[Hit], meant: Meant) -> Mapping[str, Sequence[Found]]:
    """How each feature was found, by its id: once by each source, by the first of its names there."""
    found: defaultdict[str, dict[str, Found]] = defaultdict(dict)
    places: Counter[str] = Counter()
    for each in hits:
        if each.source not in found[each.id]:
            places[each.source] += 1
            found[each.id][each.source] = Found(source=each.source, place=places[each.source], words=each.name)
    for kind, near in meant.items():
        for place, each in enumerate(near, start=1):
            found[each.id][kind.value] = Found(source=kind.value, place=place, similarity=each.similarity)
    return {id: tuple(each.values()) for id, each in found.items()}
