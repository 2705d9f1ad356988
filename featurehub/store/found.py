"""Why a search shows a feature."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from featurehub.features import Found
from featurehub.store.fuse import Meant

__all__ = ["Hit", "found_by"]


class Hit(Protocol):
    """What ``search.Hit`` says of how it was found."""

    @property
    def source(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str | None: ...


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
