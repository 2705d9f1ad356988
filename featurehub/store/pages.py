"""Search results page by page.

1. The first page ranks, and the ranking is kept in memory: further pages are cut from it, whatever is written
   meanwhile. ``IDS`` ids are kept in all, those used last.
2. A cursor says what was asked (hashed), which ranking answered, the place after the last result of its page, and that
   result. It is of no use for anything else that is asked.
3. Where the ranking is not kept (any more: many searches came between; or here: another process answers), the search is
   made again. It goes on where the same result stands before that place; else the list has changed, and is refused.
4. An empty query lists all features, which needs no ranking: see ``listing``.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from secrets import token_urlsafe
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.features import Feature
from featurehub.records import SearchFilter, SearchPage
from featurehub.settings import Limits
from featurehub.store.listing import GONE, list_features
from featurehub.store.near import QueryVector
from featurehub.store.nearest import EVERY
from featurehub.store.only import Judge, bounds_of
from featurehub.store.rows import load_features
from featurehub.store.search import Ranking, find

__all__ = ["search"]

LIMIT = 1000
IDS = 2_000_000


class Cursor(NamedTuple):
    """Where a page begins: the ranking's name, which begins with what was asked; the place; the result before it."""

    name: str
    place: int
    last: str

    def __str__(self) -> str:
        return f"{self.name}.{self.place}.{self.last}"

    @classmethod
    def of(cls, text: str, asked: str) -> "Cursor":
        """Reads a cursor. Raises InvalidInput where it is none, or of something else that was asked."""
        name, _, rest = text.partition(".")
        place, _, last = rest.partition(".")
        if not (place.isascii() and place.isdigit() and len(place) < 10 and last and name.startswith(asked)):
            raise InvalidInput(GONE, param="after")
        return cls(name, int(place), last)


class Rankings:
    """Rankings in memory, those used last. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._lock = Lock()
        self._kept: OrderedDict[str, Ranking] = OrderedDict()

    def keep(self, asked: str, ranking: Ranking) -> str:
        """Keeps what was found for what was asked, and returns its name."""
        name = asked + token_urlsafe(9)
        with self._lock:
            self._kept[name] = ranking
            self._size += len(ranking.ids)
            while self._size > self._limit and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1].ids)
        return name

    def find(self, name: str) -> Ranking | None:
        """What is kept under a name."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)


RANKINGS = Rankings(IDS)


def search(
    session: Session, query: str, saes: Sequence[str], limit: int, after: str | None, only: SearchFilter = EVERY,
    vector: QueryVector | None = None, judge: Judge | None = None, explain: bool = False, owner: str = "",
) -> SearchPage:  # fmt: skip
    """One page of features, best first.

    Args:
        session: A session that reads.
        query: The words; the empty query lists all features.
        saes: Ids of the SAEs to search.
        limit: Largest number of features on the page, in 1..1000.
        after: The ``next`` of the page before; None for the first page.
        only: Which features may be shown.
        vector: The query as a vector; None searches by words alone.
        judge: Says the states, where ``only`` asks for some.
        explain: Whether each feature says how it was found.
        owner: Whose own aliases count beside everyone's names.

    Raises:
        InvalidInput: The query is too long, the limit out of bounds, ``after`` not among the results, or states are
            asked for where no model is loaded.
        EmbedderMismatch: An SAE was embedded by another embedder than the query.
    """
    if len(query) > Limits().name_chars:
        raise InvalidInput(f"a query has at most {Limits().name_chars} characters, not {len(query)}", param="q")
    if not 1 <= limit <= LIMIT:
        raise InvalidInput(f"limit must lie in 1..{LIMIT}, not {limit}", param="limit")
    if only.states and judge is None:
        raise InvalidInput("features have states only where a model is loaded: leave out `state`", param="state")
    embedder = "" if vector is None else vector.embedder
    asked = _digest(
        query, owner, *saes, str([explain, sorted(only.layers), sorted(only.states), bounds_of(only), embedder])
    )
    if not query.strip():
        return list_features(session, asked, saes, limit, after, only, judge, owner)
    cursor = None if after is None else Cursor.of(after, asked)
    ranking = None if cursor is None else RANKINGS.find(cursor.name)
    name = "" if cursor is None else cursor.name
    if ranking is None:
        ranking = _judged(session, find(session, query, saes, only, vector, owner, explain), only, judge)
        name = RANKINGS.keep(asked, ranking) if len(ranking.ids) > limit else ""
    start = 0 if cursor is None else cursor.place
    if cursor is not None and ranking.ids[max(0, start - 1) : start] != [cursor.last]:
        raise InvalidInput(GONE, param="after")
    ids = ranking.ids[start : start + limit]
    end = start + len(ids)
    following = str(Cursor(name, end, ids[-1])) if end < len(ranking.ids) else None
    features = tuple(_shown(each, ranking, explain) for each in load_features(session, ids, owner))
    return SearchPage(features=features, next=following, by_meaning=ranking.by_meaning)


def _shown(feature: Feature, ranking: Ranking, explain: bool) -> Feature:
    shown: dict[str, Any] = {"relevance": ranking.relevance[feature.id]}
    return feature.model_copy(update=shown | ({"found": ranking.found.get(feature.id, ())} if explain else {}))


def _judged(session: Session, ranking: Ranking, only: SearchFilter, judge: Judge | None) -> Ranking:
    """The ranking with the features in the states asked for."""
    if not only.states or judge is None:
        return ranking
    states = judge(load_features(session, ranking.ids))
    return ranking._replace(ids=[each for each in ranking.ids if states[each] in only.states])


def _digest(*asked: str) -> str:
    return hashlib.sha256("\0".join(asked).encode()).hexdigest()[:16]
