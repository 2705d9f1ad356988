"""All features of some SAEs, best first, page by page.

1. Order: by worth, the rank of a feature where all are equally relevant (``search.rank``); ties by id. An index,
   ``ix_features_worth``, has each SAE's features in this order, so that a page is read, and nothing is sorted.
2. The features of several SAEs are merged as they are read.
3. A cursor says what was asked (hashed), and the worth and id of its page's last feature. The next page begins after
   that place, in whatever process: each feature is on one page, but for one whose worth changes between two pages.
4. Where states are asked for, features are judged ``BATCH`` at a time until the page is full.
"""

import struct
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.records import SearchFilter, SearchPage
from featurehub.store.only import ALLOWED, Judge, bounds_of
from featurehub.store.rows import load_features
from featurehub.store.search import FLOOR, UNSCORED, UNTESTED
from featurehub.store.sql import statement

__all__ = ["GONE", "list_features"]

GONE = "`after` is not among the results any more; start again without it"
BATCH = 500
SCORE = f"coalesce(f.label_score, {UNSCORED})"
STEERS = f"coalesce(f.steerability, f.expected_steerability, {UNTESTED})"
WORTH = "(" + " * ".join(f"CASE WHEN {each} > {FLOOR} THEN {each} ELSE {FLOOR} END" for each in (SCORE, STEERS)) + ")"
"""SQL for the worth of a feature ``f``, as the index has it: it serves no other expression."""
NEXT = statement(
    f"""
    SELECT {WORTH}, f.id FROM features AS f
    WHERE f.artifact_id = :sae AND {WORTH} <= :worth AND ({WORTH} < :worth OR f.id < :id) AND {ALLOWED}
    ORDER BY {WORTH} DESC, f.id DESC LIMIT :limit
    """
)


class Place(NamedTuple):
    """Where a feature stands in the order of step 1."""

    worth: float
    id: str

    def __str__(self) -> str:
        return f"{struct.pack('>d', self.worth).hex()}.{self.id}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """Reads what ``str`` wrote. Raises InvalidInput where it is something else."""
        worth, _, id = text.partition(".")
        try:
            (found,) = struct.unpack(">d", bytes.fromhex(worth))
        except (ValueError, struct.error) as error:
            raise InvalidInput(GONE, param="after") from error
        if not 0.0 < found <= 1.0 or not id:
            raise InvalidInput(GONE, param="after")
        return cls(found, id)


FIRST = Place(float("inf"), "")
"""Before the place of every feature."""


def list_features(
    session: Session, asked: str, saes: Sequence[str], limit: int, after: str | None, only: SearchFilter,
    judge: Judge | None, owner: str,
) -> SearchPage:  # fmt: skip
    """One page of all features.

    Args:
        session: A session that reads.
        asked: What stands for all that was asked for, in the cursor.
        saes: Ids of the SAEs.
        limit: Largest number of features on the page.
        after: The ``next`` of the page before; None for the first page.
        only: Which features may be shown.
        judge: Says the states, where ``only`` asks for some.
        owner: Whose own aliases features have beside everyone's.

    Raises:
        InvalidInput: ``after`` is no cursor of what is asked for.
    """
    start = FIRST if after is None else _start(after, asked)
    places = merge(*(_places(session, sae, start, only, limit + 1) for sae in saes), reverse=True)
    shown = list(islice(_judged(session, places, only, judge), limit + 1))
    following = f"{asked}.{shown[limit - 1]}" if len(shown) > limit else None
    features = load_features(session, [each.id for each in shown[:limit]], owner)
    return SearchPage(features=tuple(each.model_copy(update={"relevance": 1.0}) for each in features), next=following)


def _start(after: str, asked: str) -> Place:
    of, _, place = after.partition(".")
    if of != asked:
        raise InvalidInput(GONE, param="after")
    return Place.of(place)


def _places(session: Session, sae: str, start: Place, only: SearchFilter, size: int) -> Iterator[Place]:
    """The places of an SAE's features behind one, ``size`` read at a time."""
    while True:
        parameters = {"sae": sae, "limit": size, **start._asdict(), **bounds_of(only)}
        found = [Place(*row) for row in session.execute(NEXT, parameters)]
        yield from found
        if len(found) < size:
            return
        start, size = found[-1], BATCH


def _judged(session: Session, places: Iterator[Place], only: SearchFilter, judge: Judge | None) -> Iterator[Place]:
    """Step 4."""
    if not only.states or judge is None:
        yield from places
        return
    while batch := list(islice(places, BATCH)):
        states = judge(load_features(session, [each.id for each in batch]))
        yield from (each for each in batch if states[each.id] in only.states)
